-- What shortfalls and backorders wait for. The ZSET owing (all scores 0) orders them first come, first served, for each SKU and
-- location: "<sku> 0x1f <location> 0x1f <accepted ms, 15 digits> 0x1f <order>". level.owed is the sum: nobody else may take it.
-- Field w of a record holds what it claims, as items. Needs record.lua, stock.lua.
local CLAIMS = { shortfall = true, backorder = true }

local function owing_member(item, head, member)
  return item.sku .. '\031' .. item.location .. '\031' .. string.format('%015.0f', head.accepted) .. '\031' .. member
end

local function change_owed(level, units)
  level.owed = level.owed + units
  shift(level, 0, 0, 0, 0, 0)
end

-- Ends the claims of a record: what it draws next is not to stop at its own claim.
local function unclaim(keys, key, head)
  local claims = read_items(read_field(key, 'w'))
  for _, claim in ipairs(claims) do
    change_owed(level_of(keys.stock, claim.sku, claim.location), -claim.quantity)
    redis.call('ZREM', keys.owing, owing_member(claim, head, member_of(key)))
  end
  if #claims > 0 then
    redis.call('HDEL', key, 'w')
  end
end

-- Brings claims in line with what the record wants as it stands now.
local function owe(keys, key, head)
  local claims = {}
  unclaim(keys, key, head)
  for _, item in ipairs(CLAIMS[head.state] and read_items(read_field(key, 'i')) or {}) do
    local missing = item.quantity - item.taken - item.counted
    local level = missing > 0 and level_of(keys.stock, item.sku, item.location)
    if level then
      change_owed(level, missing)
      redis.call('ZADD', keys.owing, 0, owing_member(item, head, member_of(key)))
      claims[#claims + 1] = { sku = item.sku, location = item.location, quantity = missing, taken = 0 }
    end
  end
  if #claims > 0 then
    write_field(key, 'w', pack_items(claims))
  end
end
