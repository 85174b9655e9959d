-- What most holds and orders want: SKUs known at the one place where their channel sells from, none of them a kit or under a
-- sale's rules. It is worked out once a call for each text of items: in a rush all want the same. What stands here leads
-- to what the general way (kit.lua, allowance.lua, pick.lua, draw.lua) leads to, with less work.
-- *keys* has stock, kit and rule. Needs terms.lua, stock.lua, journal.lua.
local usual_wishes, some_kits, some_rules = {}, nil, nil

local function is_usual_sku(keys, sku)
  if some_kits == nil then
    some_kits, some_rules = redis.call('HLEN', keys.kit) > 0, redis.call('HLEN', keys.rule) > 0
  end
  return not (some_kits and redis.call('HEXISTS', keys.kit, sku) == 1)
    and not (some_rules and redis.call('HEXISTS', keys.rule, sku) == 1)
end

-- Returns {levels, units}, the items as text where nothing and where all is taken; false where something is not usual.
local function read_usual_wish(keys, terms, items)
  local location, wish, seen = terms.locations[1], { levels = {}, units = {} }, {}
  local bare, taken = {}, {}
  for sku, quantity in string.gmatch(items, '([^\030\031]+)\031[^\030\031]*\031([1-9]%d*)\0310') do
    local level = #quantity < 15 and not seen[sku] and is_usual_sku(keys, sku) and level_of(keys.stock, sku, location)
    if not level then
      return false
    end
    local index, at = #bare + 1, field_of(sku, location) .. '\031' .. quantity .. '\031'
    seen[sku], bare[index], taken[index] = true, at .. '0', at .. quantity
    wish.levels[index], wish.units[index] = level, tonumber(quantity)
  end
  wish.bare, wish.taken = table.concat(bare, '\030'), table.concat(taken, '\030')
  return wish.bare == items and items ~= '' and wish -- else it was not all that was written
end

local function usual_wish_of(keys, terms, items)
  if terms.locations[2] then
    return false
  end
  local place = terms.locations[1]
  local known = usual_wishes[place]
  if not known then
    known = {}
    usual_wishes[place] = known
  end
  local wish = known[items]
  if wish == nil then
    wish = read_usual_wish(keys, terms, items)
    known[items] = wish
  end
  return wish
end

local function is_free(wish)
  for index, level in ipairs(wish.levels) do
    if spare_of(level) < wish.units[index] then
      return false
    end
  end
  return true
end

-- Changes counters by *held* and *sold* times the units of the wish; returns the moves as JSON text, remembered as *name*.
local function shift_wish(wish, name, held, sold)
  for index, level in ipairs(wish.levels) do
    local units = wish.units[index]
    level.held, level.sold = level.held + held * units, level.sold + sold * units
    touch(level)
  end
  if not wish[name] then
    local moves = {}
    for index, level in ipairs(wish.levels) do
      local units = wish.units[index]
      moves[index] = move_text(level, 0, held * units, sold * units, 0, 0)
    end
    wish[name] = table.concat(moves, ',')
  end
  return wish[name]
end
