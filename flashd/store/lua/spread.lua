#!lua flags=allow-oom
-- spread -- Hand what became dirty in the pool to the channels, with every kit that has a part of it.
-- KEYS[1] dirty ZSET SKUs whose stock changed
-- KEYS[2] kit HASH kits
-- KEYS[3..] own_dirty ZSET dirty:<channel> of each channel
-- ARGV[1] limit how many at most
-- RETURNS {how many SKUs left the pool's set, then how many each channel must look at}
-- KEEPS what is dirty stays so until its channel has cleaned it
-- CLOCK none

-- @include integer
-- @include kit
-- @include dirty

-- Read.
local limit = integer(ARGV[1])

-- Refuse.
if not limit then
  return redis.error_reply('ERR flashd: spread wants a whole number')
end

local function reply_of(count)
  local reply = { count }
  for index = 3, #KEYS do
    reply[#reply + 1] = redis.call('ZCARD', KEYS[index])
  end
  return reply
end

-- Write.
local found = redis.call('ZRANGE', KEYS[1], 0, limit - 1, 'WITHSCORES')
if #found == 0 then
  return reply_of(0)
end
local kits_of = {}
local kits = redis.call('HGETALL', KEYS[2])
for index = 1, #kits, 2 do
  for _, part in ipairs(unpack_parts(kits[index + 1])) do
    kits_of[part.sku] = kits_of[part.sku] or {}
    table.insert(kits_of[part.sku], kits[index])
  end
end
local function hand_on(sku, since)
  for index = 3, #KEYS do
    touch_dirty(KEYS[index], sku, since)
  end
end
for index = 1, #found, 2 do
  local sku, since = found[index], tonumber(found[index + 1])
  hand_on(sku, since)
  for _, kit in ipairs(kits_of[sku] or {}) do
    hand_on(kit, since)
  end
  redis.call('ZREM', KEYS[1], sku)
end
return reply_of(#found / 2)
