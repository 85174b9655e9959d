-- A newer version waits in field n (cmsgpack of what accept was told of it) until the outcome of a sending is known.
-- Needs clock.lua, record.lua.
local function read_next(key)
  local packed = redis.call('HGET', key, 'n')
  return packed and cmsgpack.unpack(packed) or nil
end

local function keep_next(keys, key, entry)
  redis.call('HSET', key, 'n', cmsgpack.pack(entry))
  redis.call('ZADD', keys.pending, 'NX', whole(now_ms), member_of(key))
end

local function drop_next(keys, key)
  redis.call('HDEL', key, 'n')
  redis.call('ZREM', keys.pending, member_of(key))
end
