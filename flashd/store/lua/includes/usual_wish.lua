-- What most holds and orders want: SKUs that are no kits, all from one place. The files that begin with usual lead to what the
-- general way (hold_one.lua, accept_one.lua) leads to, with less work; where something is not as usual they write nothing
-- and leave it to that. What a text of items means is worked out once a call: in a rush all want the same.
-- *keys* has stock and kit. Needs terms.lua, stock.lua, and know_sales of the script.
local wishes, some_kits = {}, nil

local function is_kit(keys, sku)
  if some_kits == nil then
    some_kits = redis.call('HLEN', keys.kit) > 0
  end
  return some_kits and redis.call('HEXISTS', keys.kit, sku) == 1
end

local function is_ruled(keys, sku)
  local sales = know_sales(keys)
  return sales and sales.rules_for(keys, sku)[1] ~= nil
end

-- A wish is also its lot at the place where it is looked for first, see lot_at: a table that is of its size from the beginning.
local function new_wish(skus, units, ruled)
  return {
    skus = skus, units = units, ruled = ruled, at = false, levels = false, elsewhere = false, taken = false, held = false,
    sold = false, granted = false, unheld = false,
  }
end

local ends = {} -- what stands behind the SKU in items of one: its units, in a list, by the text, which many have in common

local function read_end(text)
  local units = string.match(text, '^[^\030\031]*\031([1-9]%d*)\0310$')
  local known = units and #units < 15 and { tonumber(units) } or false
  ends[text] = known
  return known
end

-- Returns the SKU and its units where the items are of one alone.
local function read_one(items)
  local cut = string.find(items, '\031', 1, true) or 1
  local text = string.sub(items, cut + 1)
  local units = ends[text]
  if units == nil then
    units = read_end(text)
  end
  local sku = string.sub(items, 1, cut - 1)
  return units and sku ~= '' and not string.find(sku, '\030', 1, true) and sku, units
end

local function read_wish(keys, items)
  local only, number = read_one(items)
  if only then -- as most are: no other can be the same
    return not is_kit(keys, only) and new_wish({ only }, number, is_ruled(keys, only))
  end
  local wish, seen, told = new_wish({}, {}, false), {}, {}
  for sku, place, quantity in string.gmatch(items, '([^\030\031]+)\031([^\030\031]*)\031([1-9]%d*)\0310') do
    if #quantity > 14 or seen[sku] or is_kit(keys, sku) then
      return false
    end
    local index = #told + 1
    seen[sku], told[index] = true, sku .. '\031' .. place .. '\031' .. quantity .. '\0310'
    wish.skus[index], wish.units[index] = sku, tonumber(quantity)
    wish.ruled = wish.ruled or is_ruled(keys, sku)
  end
  return items ~= '' and table.concat(told, '\030') == items and wish -- else it was not all that was written
end

-- Returns false where not all of it is as usual.
local function wish_of(keys, items)
  local wish = wishes[items]
  if wish == nil then
    wish = read_wish(keys, items)
    wishes[items] = wish
  end
  return wish
end

local function read_levels(keys, wish, location)
  local skus, known = wish.skus, {}
  for index = 1, #skus do
    local level = level_of(keys.stock, skus[index], location)
    if not level then
      return false
    end
    known[index] = level
  end
  return known
end

-- Returns the lot of a wish at one place: its levels and units, and what it remembers, its items as text where all is taken and
-- its moves as JSON text by their name. False where a SKU is unknown there.
local function lot_at(keys, wish, location)
  if not wish.at then
    wish.at, wish.levels = location, read_levels(keys, wish, location)
  end
  if wish.at == location then -- as nearly all
    return wish.levels and wish
  end
  wish.elsewhere = wish.elsewhere or {}
  if wish.elsewhere[location] == nil then
    local lot = new_wish(wish.skus, wish.units, wish.ruled)
    lot.at, lot.levels = location, read_levels(keys, wish, location)
    wish.elsewhere[location] = lot.levels and lot
  end
  return wish.elsewhere[location]
end

-- Returns the items of a lot as text where all is taken, or nothing.
local function items_text(lot, is_taken)
  local levels, text = lot.levels, nil
  for index = 1, #levels do
    local quantity = whole(lot.units[index])
    local item = levels[index].field .. '\031' .. quantity .. '\031' .. (is_taken and quantity or '0')
    text = text and text .. '\030' .. item or item
  end
  return text
end

local function taken_text(lot)
  lot.taken = lot.taken or items_text(lot, true)
  return lot.taken
end

local function is_free(lot)
  local levels, units = lot.levels, lot.units
  for index = 1, #levels do
    if spare_of(levels[index]) < units[index] then
      return false
    end
  end
  return true
end

-- Returns the lot at the first place where all of it is free, as pick.lua chooses; nil where it would have to be split.
local function free_lot(keys, wish, terms)
  local places = terms.locations
  for index = 1, #places do
    local lot = lot_at(keys, wish, places[index])
    if lot and is_free(lot) then
      return lot
    end
  end
  return nil
end

-- Changes counters by *held*, *sold* and *exposed* times the units; returns the moves as JSON text, remembered as *name*.
local function shift_lot(lot, name, held, sold, exposed)
  local levels, moves, known = lot.levels, '', lot[name]
  for index = 1, #levels do
    local level, units = levels[index], lot.units[index]
    level.held, level.sold = level.held + held * units, level.sold + sold * units
    level.exposed = level.exposed + exposed * units
    touch(level)
    if not known then
      moves = moves .. (index > 1 and ',' or '') .. move_text(level, 0, held * units, sold * units, exposed * units, 0)
    end
  end
  known = known or ',"moves":[' .. moves .. ']'
  lot[name] = known
  return known
end
