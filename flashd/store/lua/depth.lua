-- depth -- Say how much waits for a backend and is on its way to it, and whether any of it wants to be seen to.
-- KEYS[1] queue ZSET q:<backend>
-- KEYS[2] flight ZSET fl:<backend>
-- ARGV[1] latest_ms nothing is due later than so long from now, unless a clock was set back
-- RETURNS {queued, the first in the queue or '', its place, whether it is due (0 or 1), in flight, whether something in flight is due
--   or anything stands too late (0 or 1)}
-- KEEPS everything: it only reads
-- CLOCK server

-- @include integer
-- @include clock

local function edge(index, rank)
  local found = redis.call('ZRANGE', index, rank, rank, 'WITHSCORES')
  return found[1] or '', found[2] or ''
end

-- Read.
local latest = integer(ARGV[1])

-- Refuse.
if not latest then
  return redis.error_reply('ERR flashd: depth wants a whole number')
end

local queued, flying = redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2])
local first, place, is_due, is_overdue = '', '', 0, 0
local function is_too_late(index)
  local _, last = edge(index, -1)
  return tonumber(last) > now_ms + latest
end
if queued > 0 then
  first, place = edge(KEYS[1], 0)
  is_due = tonumber(place) <= now_ms and 1 or 0
  is_overdue = is_too_late(KEYS[1]) and 1 or 0
end
if flying > 0 then
  local _, next_due = edge(KEYS[2], 0)
  is_overdue = (tonumber(next_due) <= now_ms or is_too_late(KEYS[2])) and 1 or is_overdue
end
return { queued, first, place, is_due, flying, is_overdue }
