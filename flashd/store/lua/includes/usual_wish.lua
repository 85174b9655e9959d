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

local ONE = '^([^\030\031]+)\031[^\030\031]*\031([1-9]%d*)\0310$'

local function read_wish(keys, items)
  local only, units = string.match(items, ONE)
  if only then -- as most are: no other can be the same
    if #units > 14 or is_kit(keys, only) then
      return false
    end
    return { skus = { only }, units = { tonumber(units) }, lots = false, ruled = is_ruled(keys, only) }
  end
  local wish, seen, told = { skus = {}, units = {}, lots = false, ruled = false }, {}, {}
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

-- Reads the levels of all that is *asked*, which begins with a group's number and has its items fifth, each at the first place of
-- its group: most are taken there.
local function foresee(keys, groups, asked)
  local skus, places = {}, {}
  for index = 1, #asked do
    local items = asked[index][5]
    local wish = wishes[items] == nil and wish_of(keys, items)
    for at = 1, wish and #wish.skus or 0 do
      skus[#skus + 1], places[#skus + 1] = wish.skus[at], groups[asked[index][1]].terms.locations[1]
    end
  end
  if #skus > 1 then
    fetch_levels(keys.stock, skus, places)
  end
end

-- A lot remembers what its moves are as JSON text, by their name; in a table that is of its size from the beginning.
local function new_lot(levels, units, bare, taken)
  return { levels = levels, units = units, bare = bare, taken = taken, held = false, sold = false, granted = false, unheld = false }
end

local function read_lot(keys, wish, location)
  local known, bare, taken = {}, {}, {}
  for index, sku in ipairs(wish.skus) do
    local level, quantity = level_of(keys.stock, sku, location), whole(wish.units[index])
    if not level then
      return false
    end
    local at = field_of(sku, location) .. '\031' .. quantity .. '\031'
    known[index], bare[index], taken[index] = level, at .. '0', at .. quantity
  end
  if #known == 1 then -- as most are
    return new_lot(known, wish.units, bare[1], taken[1])
  end
  return new_lot(known, wish.units, table.concat(bare, '\030'), table.concat(taken, '\030'))
end

-- Returns the wish at one place: its levels, and its items as text where nothing and where all is taken; false where a SKU is
-- unknown there.
local function lot_at(keys, wish, location)
  if not wish.lots then
    wish.lots = { [location] = read_lot(keys, wish, location) }
  elseif wish.lots[location] == nil then
    wish.lots[location] = read_lot(keys, wish, location)
  end
  return wish.lots[location]
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
  for index = 1, #lot.levels do
    local level, units = lot.levels[index], lot.units[index]
    level.held, level.sold = level.held + held * units, level.sold + sold * units
    level.exposed = level.exposed + exposed * units
    touch(level)
  end
  if not lot[name] then
    local moves = ''
    for index, level in ipairs(lot.levels) do
      local units = lot.units[index]
      moves = moves .. (index > 1 and ',' or '') .. move_text(level, 0, held * units, sold * units, exposed * units, 0)
    end
    lot[name] = ',"moves":[' .. moves .. ']'
  end
  return lot[name]
end
