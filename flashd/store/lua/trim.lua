#!lua flags=allow-oom
-- trim -- Take folded entries off the journal's old end, and add what they moved to the checkpoint, in one step.
-- KEYS[1] journal STREAM the pool's journal
-- KEYS[2] checkpoint HASH upto, and the tallies of all that was trimmed
-- ARGV[1] was the checkpoint's upto when the entries were read, or ''
-- ARGV[2] upto the id of the last entry that was folded
-- ARGV[3..] tallies for each: field (sku 0x1f location), and "on_hand held sold exposed safety lacked", which may be negative
-- RETURNS {code, how many entries went}: `trimmed`, or `moved` (somebody else trimmed meanwhile; nothing was written)
-- KEEPS checkpoint + fold(journal) = counters
-- CLOCK none

-- @include integer

local SIX = '^(%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+) (%-?%d+)$'
local TOGETHER = 500 -- fields a command

local function sum(known, more)
  local on_hand, held, sold, exposed, safety, lacked = string.match(known, SIX)
  local a, b, c, d, e, f = string.match(more, SIX)
  return whole(on_hand + a) .. ' ' .. whole(held + b) .. ' ' .. whole(sold + c) .. ' ' .. whole(exposed + d) .. ' '
    .. whole(safety + e) .. ' ' .. whole(lacked + f)
end

-- Read
local journal, checkpoint = KEYS[1], KEYS[2]
local was = redis.call('HGET', checkpoint, 'upto') or ''
local ms, serial = string.match(ARGV[2], '^(%d+)%-(%d+)$')

-- Refuse
if was ~= ARGV[1] then
  return { 'moved', '0' }
end
if not ms or #ARGV % 2 ~= 0 then
  return redis.error_reply('ERR flashd: trim wants an id and two arguments a tally')
end
for index = 3, #ARGV, 2 do
  if not string.find(ARGV[index + 1], SIX) then
    return redis.error_reply('ERR flashd: trim wants six whole numbers a tally')
  end
end

-- Write, many fields a command.
for from = 3, #ARGV, 2 * TOGETHER do
  local fields, values = {}, {}
  for index = from, math.min(from + 2 * TOGETHER, #ARGV) - 1, 2 do
    fields[#fields + 1] = ARGV[index]
  end
  for index, known in ipairs(redis.call('HMGET', checkpoint, unpack(fields))) do
    local more = ARGV[from + 2 * index - 1]
    values[2 * index - 1], values[2 * index] = fields[index], known and sum(known, more) or more
  end
  redis.call('HSET', checkpoint, unpack(values))
end
redis.call('HSET', checkpoint, 'upto', ARGV[2])
return { 'trimmed', whole(redis.call('XTRIM', journal, 'MINID', ms .. '-' .. whole(tonumber(serial) + 1))) }
