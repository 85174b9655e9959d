-- What a hold or an order counts for: a bag (see kit.lua) of fields of the HASH use and units; packed "<field> 0x1e <units>",
-- joined by 0x1e. *keys* has use. Needs kit.lua, integer.lua, journal.lua.
local function read_uses(packed)
  local uses = new_bag()
  for field, units in string.gmatch(packed or '', '([^\030]+)\030(%d+)') do
    put(uses, field, tonumber(units))
  end
  return uses
end

local function pack_uses(uses)
  local packed = {}
  for _, field in ipairs(uses.order) do
    if uses.units[field] > 0 then
      packed[#packed + 1] = field .. '\030' .. whole(uses.units[field])
    end
  end
  return table.concat(packed, '\030')
end

-- What *after* is more than *before*, as {field, units} pairs in order.
local function compare_uses(before, after)
  local seen, changes = {}, {}
  for _, bag in ipairs({ before, after }) do
    for _, field in ipairs(bag.order) do
      local change = math.max(0, after.units[field] or 0) - (before.units[field] or 0)
      if change ~= 0 and not seen[field] then
        seen[field], changes[#changes + 1] = true, { field = field, units = change }
      end
    end
  end
  return changes
end

-- The member "uses" of an event, with its comma, or ''.
local function tell_uses(before, after)
  local told = {}
  for index, change in ipairs(compare_uses(before, after)) do
    told[index] = '[' .. quoted(change.field) .. ',' .. whole(change.units) .. ']'
  end
  return #told > 0 and ',"uses":[' .. table.concat(told, ',') .. ']' or ''
end

local function change_uses(keys, before, after)
  for _, change in ipairs(compare_uses(before, after)) do
    if redis.call('HINCRBY', keys.use, change.field, whole(change.units)) <= 0 then
      redis.call('HDEL', keys.use, change.field)
    end
  end
end
