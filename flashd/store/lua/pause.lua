#!lua flags=allow-oom
-- pause -- Let nothing out to a backend for a time, or until a human resumes.
-- KEYS[1] pause HASH h: a human's reason; u: until ms; x: why; by: who
-- ARGV[1] for_ms how long from now; 0 until resumed
-- ARGV[2] reason why
-- ARGV[3] by who
-- RETURNS until when in ms, 0 for until resumed
-- KEEPS a longer wait and a human's pause: neither is shortened by another
-- CLOCK server

-- @include integer
-- @include clock

-- Read.
local for_ms = integer(ARGV[1])
local known = integer(redis.call('HGET', KEYS[1], 'u') or '0') or 0

-- Refuse.
if not for_ms then
  return redis.error_reply('ERR flashd: pause wants a whole number')
end
if for_ms > 0 and now_ms + for_ms <= known then
  return known
end

-- Write.
if for_ms == 0 then
  redis.call('HSET', KEYS[1], 'h', ARGV[2], 'by', ARGV[3])
  return 0
end
redis.call('HSET', KEYS[1], 'u', whole(now_ms + for_ms), 'x', ARGV[2])
return now_ms + for_ms
