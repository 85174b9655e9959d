#!lua flags=allow-oom
-- trim -- Take folded entries off the journal's old end, and add what they moved to the checkpoint, in one step.
-- KEYS[1] journal STREAM the pool's journal
-- KEYS[2] checkpoint HASH upto, and the tallies of all that was trimmed
-- ARGV[1] was the checkpoint's upto when the entries were read, or ''
-- ARGV[2] upto the id of the last entry that was folded
-- ARGV[3..] tallies for each: field (sku 0x1f location), on_hand, held, sold, exposed, safety, lacked; may be negative
-- RETURNS {code, how many entries went}: `trimmed`, or `moved` (somebody else trimmed meanwhile; nothing was written)
-- KEEPS checkpoint + fold(journal) = counters
-- CLOCK none

-- @include integer

-- Read
local journal, checkpoint = KEYS[1], KEYS[2]
local was = redis.call('HGET', checkpoint, 'upto') or ''
local ms, serial = string.match(ARGV[2], '^(%d+)%-(%d+)$')

-- Refuse
if was ~= ARGV[1] then
  return { 'moved', '0' }
end
if not ms or (#ARGV - 2) % 7 ~= 0 then
  return redis.error_reply('ERR flashd: trim wants an id and seven arguments a tally')
end
for index = 3, #ARGV do
  if (index - 3) % 7 ~= 0 and not string.find(ARGV[index], '^%-?%d+$') then
    return redis.error_reply('ERR flashd: trim wants whole numbers')
  end
end

-- Write
for index = 3, #ARGV, 7 do
  local known = redis.call('HGET', checkpoint, ARGV[index]) or '0 0 0 0 0 0'
  local sum, at = {}, index
  for number in string.gmatch(known, '%-?%d+') do
    at = at + 1
    sum[#sum + 1] = whole(tonumber(number) + tonumber(ARGV[at]))
  end
  redis.call('HSET', checkpoint, ARGV[index], table.concat(sum, ' '))
end
redis.call('HSET', checkpoint, 'upto', ARGV[2])
return { 'trimmed', whole(redis.call('XTRIM', journal, 'MINID', ms .. '-' .. whole(tonumber(serial) + 1))) }
