-- peek -- Name the members of an index whose time has come, oldest first; nothing is taken.
-- KEYS[1] index ZSET q:<backend> or fl:<backend>
-- ARGV[1] offset how many to leave out
-- ARGV[2] limit how many to name
-- RETURNS the members
-- KEEPS everything: it only reads
-- CLOCK server

-- @include integer
-- @include clock

-- Read.
local offset, limit = integer(ARGV[1]), integer(ARGV[2])

-- Refuse.
if not offset or not limit then
  return redis.error_reply('ERR flashd: peek wants whole numbers')
end

return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', whole(now_ms), 'LIMIT', ARGV[1], ARGV[2])
