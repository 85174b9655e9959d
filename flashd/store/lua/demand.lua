-- demand -- Keep what a platform demands about customers, until somebody has met it; the same demand once.
-- KEYS[1] demand HASH demands by id, JSON
-- KEYS[2] journal STREAM j
-- ARGV[1] id fingerprint of channel and body
-- ARGV[2] channel that sent it
-- ARGV[3] kind what is demanded
-- ARGV[4] packed all of it, JSON; the person is in it
-- ARGV[5] over what is kept of the same words, as it was read, where it was met long ago; or ''
-- RETURNS `kept` or `repeat`
-- KEEPS one entry a demand; no event names a person
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal

-- Read, Refuse.
local kept = redis.call('HGET', KEYS[1], ARGV[1])
if kept and kept ~= ARGV[5] then
  return 'repeat'
end

-- Write.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
announce(
  KEYS[2], 'channel.demanded',
  '"channel":' .. quoted(ARGV[2]) .. ',"demand":' .. quoted(ARGV[3]) .. ',"demand_id":' .. quoted(ARGV[1])
)
return 'kept'
