#!lua flags=allow-oom
-- drop -- Take drops from the leaky bucket of a backend (GCRA, whole microseconds), as many as may be had, or say how long to wait.
-- KEYS[1] tat STRING `<theoretical arrival time us> <spacing us it was taken with>`
-- KEYS[2] pause HASH h: a human's reason; u: until ms; x: why
-- ARGV[1] spacing_us between two drops, rounded up by the caller
-- ARGV[2] burst how many drops may leave at once after rest
-- ARGV[3] ahead_us how far ahead a drop may be taken, to be used when its time comes
-- ARGV[4] count how many are wanted
-- RETURNS {wait_ms, after_us, reason, taken}: 0, when to use the first (below 0 with credit; the others a spacing apart), '' and how
--   many; else wait_ms, 0, `paused`, `retry_after` or `rate`, and 0
-- KEEPS at most ceil(W/T) + burst - 1 drops to be used in any half-open window W, also over a change of the spacing
-- CLOCK server, in microseconds

-- @include integer

local AHEAD_MAX = 100000

-- Read.
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local spacing, burst, ahead, count = integer(ARGV[1]), integer(ARGV[2]), integer(ARGV[3]), integer(ARGV[4])
local pause = redis.call('HMGET', KEYS[2], 'h', 'u')
local tat, taken_with = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+) (%d+)$')

-- Refuse.
if not spacing or spacing < 1 or not burst or burst < 1 or not count or count < 1 or not ahead or ahead > AHEAD_MAX then
  return redis.error_reply('ERR flashd: drop wants a spacing, a burst and a count of at least 1, at most 100000 us ahead')
end
if pause[1] then
  return { 1000, 0, 'paused', 0 }
end
local until_us = (integer(pause[2] or '0') or 0) * 1000
if until_us > now_us then
  return { math.ceil((until_us - now_us) / 1000), 0, 'retry_after', 0 }
end

-- Write.
local tolerance = (burst - 1) * spacing
local limit = now_us + tolerance + spacing + AHEAD_MAX
tat, taken_with = tonumber(tat), tonumber(taken_with)
local anchored = not tat or tat > limit
if tat and spacing > taken_with then
  tat = tat + (spacing - taken_with) * burst
end
tat = math.min(tat or limit, limit)
local after = math.max(tat, now_us) - tolerance - now_us
if after > ahead then
  if anchored then
    redis.call('SET', KEYS[1], whole(tat) .. ' ' .. whole(spacing))
  end
  return { math.ceil((after - ahead) / 1000), 0, 'rate', 0 }
end
local taken = math.min(count, math.floor((ahead - after) / spacing) + 1)
redis.call('SET', KEYS[1], whole(math.max(tat, now_us) + taken * spacing) .. ' ' .. whole(spacing))
return { 0, after, '', taken }
