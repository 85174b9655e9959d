#!lua flags=allow-oom
-- unquarantine -- Drop a quarantined body, after a human mended or discarded it.
-- KEYS[1] quarantine HASH packed bodies by id
-- KEYS[2] quarantine_at ZSET ids by the time they came
-- KEYS[3] journal STREAM j
-- ARGV[1] id of the entry
-- ARGV[2] by whom
-- RETURNS `dropped` or `repeat` (there is no such entry any more)
-- KEEPS nothing of the body
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal

-- Refuse.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 'repeat'
end

-- Write.
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
announce(KEYS[3], 'channel.unquarantined', '"quarantine":' .. quoted(ARGV[1]) .. ',"by":' .. quoted(ARGV[2]))
return 'dropped'
