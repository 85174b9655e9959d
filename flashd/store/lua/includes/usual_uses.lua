-- What a new hold or order counts for in the sales of its SKUs, where all of them let it in and no quota or limit is passed: what
-- allowance.lua would say. Counters are read once a call and written once, by write_counted. *keys* has rule and use.
-- Needs usual_wish.lua, rules.lua, journal.lua.
local used, counted = {}, {}

local function used_of(keys, field)
  if not used[field] then
    used[field] = tonumber(redis.call('HGET', keys.use, field) or 0) + (counted[field] or 0)
  end
  return used[field]
end

-- Returns {order, units by field}, or nil where a rule says no.
local function count_usual(keys, wish, channel, customer, at)
  local uses, bounds = { order = {}, units = {} }, {}
  for index, sku in ipairs(wish.skus) do
    local stand, rule = judge(rules_for(keys, sku), channel, at)
    for _, field in ipairs(stand == 'inside' and fields_of(rule, sku, customer) or {}) do
      if not uses.units[field] then
        uses.order[#uses.order + 1], uses.units[field] = field, 0
      end
      uses.units[field] = uses.units[field] + wish.units[index]
      local most = rule[string.sub(field, 1, 1)]
      bounds[field] = bounds[field] or most > 0 and most or nil
    end
    if stand ~= 'inside' and stand ~= 'open' then
      return nil
    end
  end
  for field, most in pairs(bounds) do
    if used_of(keys, field) + uses.units[field] > most then
      return nil
    end
  end
  return uses
end

-- Counts *uses*; returns them packed as pack_uses does, and as the member of an event.
local function count_in(uses)
  local packed, told = {}, {}
  for index, field in ipairs(uses.order) do
    local units = uses.units[field]
    counted[field] = (counted[field] or 0) + units
    used[field] = used[field] and used[field] + units
    packed[index] = field .. '\030' .. whole(units)
    told[index] = '[' .. cjson.encode(field) .. ',' .. whole(units) .. ']'
  end
  return table.concat(packed, '\030'), #told > 0 and ',"uses":[' .. table.concat(told, ',') .. ']' or ''
end

local function write_counted(keys)
  for field, units in pairs(counted) do
    redis.call('HINCRBY', keys.use, field, whole(units))
  end
  used, counted = {}, {}
end
