-- What backorders wait for. The ZSET owing (all scores 0) orders them first come, first served, for each SKU and location:
-- "<sku> 0x1f <location> 0x1f <accepted ms, 15 digits> 0x1f <order>". level.owed is the sum: nobody else may take it.
-- Field w of a record holds what it claims, as items. Needs record.lua, stock.lua.
local function owing_member(item, head, member)
  return item.sku .. '\031' .. item.location .. '\031' .. string.format('%015.0f', head.accepted) .. '\031' .. member
end

local function change_owed(level, units)
  level.owed = level.owed + units
  shift(level, 0, 0, 0, 0, 0)
end

-- Brings claims in line with what the record wants as it stands now.
local function owe(keys, key, head)
  local member, claims = member_of(key), {}
  for _, claim in ipairs(read_items(redis.call('HGET', key, 'w'))) do
    change_owed(level_of(keys.stock, claim.sku, claim.location), -claim.quantity)
    redis.call('ZREM', keys.owing, owing_member(claim, head, member))
  end
  for _, item in ipairs(head.state == 'backorder' and read_items(redis.call('HGET', key, 'i')) or {}) do
    local missing = item.quantity - item.taken - item.counted
    local level = missing > 0 and level_of(keys.stock, item.sku, item.location)
    if level then
      change_owed(level, missing)
      redis.call('ZADD', keys.owing, 0, owing_member(item, head, member))
      claims[#claims + 1] = { sku = item.sku, location = item.location, quantity = missing, taken = 0 }
    end
  end
  if #claims > 0 then
    redis.call('HSET', key, 'w', pack_items(claims))
  else
    redis.call('HDEL', key, 'w')
  end
end
