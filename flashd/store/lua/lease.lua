#!lua flags=allow-oom
-- lease -- Take or renew the leadership of a backend; every new term has a higher epoch.
-- KEYS[1] lease STRING `<until ms> <owner>`
-- KEYS[2] epoch STRING the last one given
-- ARGV[1] owner who asks
-- ARGV[2] ttl_ms how long the term lasts without renewal
-- RETURNS {code, number}: `leads` and the epoch, or `follows` and the ms until the other's term ends
-- KEEPS at most one owner at a time; an epoch is never given to two terms
-- CLOCK server

-- @include integer
-- @include clock

local CLOCK_MS = 60000 -- no two processes' terms differ by so much: whatever ends later, the clock was set back

-- Read.
local ttl_ms = integer(ARGV[2])
local until_ms, owner = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (.*)$')
local epoch = integer(redis.call('GET', KEYS[2]) or '0') or 0
local left = (tonumber(until_ms) or 0) - now_ms
local set_back = ttl_ms and left > ttl_ms + CLOCK_MS

-- Refuse.
if not ttl_ms then
  return redis.error_reply('ERR flashd: lease wants a whole number')
end
if left > 0 and owner ~= ARGV[1] and not set_back then
  return { 'follows', left }
end

-- Write. A term that would outlast all others has as long as any from now on.
if set_back and owner ~= ARGV[1] then
  redis.call('SET', KEYS[1], whole(now_ms + ttl_ms) .. ' ' .. owner)
  return { 'follows', ttl_ms }
end
-- A term that lapsed is never renewed: another may have led, and stepped down, in between.
if left <= 0 then
  epoch = math.max(epoch + 1, now_ms)
  redis.call('SET', KEYS[2], whole(epoch))
end
redis.call('SET', KEYS[1], whole(now_ms + ttl_ms) .. ' ' .. ARGV[1])
return { 'leads', epoch }
