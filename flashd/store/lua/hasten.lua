#!lua flags=allow-oom
-- hasten -- Bring back what a clock that was set back left too far in the future.
-- KEYS[1] index ZSET q:<backend> or fl:<backend>
-- ARGV[1] most_ms no member of this index is ever due later than so long from now
-- ARGV[2] after_ms the first that is brought back is due so long from now, the others behind it as before
-- RETURNS how many were brought back
-- KEEPS every member in its index, and their order
-- CLOCK server

-- @include integer
-- @include clock

local TOGETHER = 10000

-- Read.
local most, after = integer(ARGV[1]), integer(ARGV[2])

-- Refuse.
if not most or not after then
  return redis.error_reply('ERR flashd: hasten wants whole numbers')
end
local late = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. whole(now_ms + most), '+inf', 'WITHSCORES', 'LIMIT', 0, TOGETHER)

-- Write.
local shift = now_ms + after - (tonumber(late[2]) or 0)
for index = 1, #late, 2 do
  redis.call('ZADD', KEYS[1], 'XX', string.format('%.17g', tonumber(late[index + 1]) + shift), late[index])
end
return #late / 2
