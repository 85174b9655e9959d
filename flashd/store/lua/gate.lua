-- gate -- Say who leads a backend, whether it is paused and how fast it may be fed.
-- KEYS[1] lease STRING `<until ms> <owner>`
-- KEYS[2] epoch STRING the last one given
-- KEYS[3] pause HASH h: a human's reason; u: until ms; x: why
-- KEYS[4] rate STRING the override
-- KEYS[5] first STRING why it is asked before anything is sent to it
-- RETURNS {leader, epoch, paused (0 or 1), ms until it flows again, reason, rate, why it is asked first}
-- KEEPS everything: it only reads
-- CLOCK server

-- @include integer
-- @include clock

-- Read.
local until_ms, owner = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (.*)$')
local pause = redis.call('HMGET', KEYS[3], 'h', 'u', 'x')
local left = math.max(0, (integer(pause[2] or '0') or 0) - now_ms)
local reason = pause[1] or (left > 0 and pause[3]) or ''
return {
  (tonumber(until_ms) or 0) > now_ms and owner or '', redis.call('GET', KEYS[2]) or '0', pause[1] and 1 or 0, left,
  reason, redis.call('GET', KEYS[4]) or '',
  redis.call('GET', KEYS[5]) or '',
}
