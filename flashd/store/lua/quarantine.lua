-- quarantine -- Keep a proven body that was not understood; the same body once.
-- KEYS[1] quarantine HASH packed bodies by id
-- KEYS[2] quarantine_at ZSET ids by the time they came
-- KEYS[3] journal STREAM j
-- ARGV[1] id fingerprint of channel and body
-- ARGV[2] channel that sent it
-- ARGV[3] reason why it was not understood
-- ARGV[4] packed channel, reason, headers and body
-- RETURNS `kept` or `repeat`
-- KEEPS one entry a body
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal

-- Refuse.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  return 'repeat'
end

-- Write.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
redis.call('ZADD', KEYS[2], whole(now_ms), ARGV[1])
announce(
  KEYS[3], 'channel.quarantined',
  '"channel":' .. quoted(ARGV[2]) .. ',"quarantine":' .. quoted(ARGV[1]) .. ',"reason":' .. quoted(ARGV[3])
)
return 'kept'
