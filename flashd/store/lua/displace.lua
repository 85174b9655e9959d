#!lua flags=allow-oom
-- displace -- Take SKUs out of a channel's map.
-- KEYS[1] map HASH map:<channel>
-- KEYS[2] own_dirty ZSET dirty:<channel>
-- KEYS[3] journal STREAM j
-- ARGV[1] channel whose map it is
-- ARGV[2] by whom
-- ARGV[3..] skus that it shall not know any more
-- RETURNS how many were in it
-- KEEPS listings are not touched: what they expose stays so until it is zero
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include dirty

-- Read, Refuse: there is nothing to refuse.

-- Write.
local gone = 0
for at = 3, #ARGV do
  if redis.call('HDEL', KEYS[1], ARGV[at]) == 1 then
    touch_dirty(KEYS[2], ARGV[at], now_ms)
    gone = gone + 1
  end
end
if gone > 0 then
  announce(
    KEYS[3], 'channel.unmapped', '"channel":' .. quoted(ARGV[1]) .. ',"by":' .. quoted(ARGV[2]) .. ',"entries":' .. whole(gone)
  )
end
return gone
