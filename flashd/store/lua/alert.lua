-- alert -- Take one step of a pool's alerts: what stands, how far the journal was read, and what is said of it.
-- KEYS[1] alert HASH alerts that stand
-- KEYS[2] mark HASH alert:mark
-- KEYS[3] journal STREAM j
-- ARGV[1] epoch of the term in which the step is taken
-- ARGV[2] token of the step
-- ARGV[3] cursor up to which event of the journal alerts were made
-- ARGV[4] quota when messages left lately, or '' for as it was
-- ARGV[5] kept how many alerts are written
-- ARGV[6] dropped how many alerts go
-- ARGV[7..] rest key and alert of each that is written, key of each that goes, kind and members of each event
-- RETURNS `done`, `again` (this step was taken before) or `fenced` (a later term has taken one)
-- KEEPS a step is taken once, whole
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal

-- Read.
local epoch, kept, dropped = integer(ARGV[1]), integer(ARGV[5]), integer(ARGV[6])
local mark = redis.call('HMGET', KEYS[2], 'epoch', 'token')

-- Refuse.
if not epoch or not kept or not dropped then
  return redis.error_reply('ERR flashd: alert wants whole numbers')
elseif epoch < (integer(mark[1] or '0') or 0) then
  return 'fenced'
elseif mark[2] == ARGV[2] then
  return 'again'
end

-- Write.
local next_one = 7
for _ = 1, kept do
  redis.call('HSET', KEYS[1], ARGV[next_one], ARGV[next_one + 1])
  next_one = next_one + 2
end
for _ = 1, dropped do
  redis.call('HDEL', KEYS[1], ARGV[next_one])
  next_one = next_one + 1
end
redis.call('HSET', KEYS[2], 'epoch', whole(epoch), 'token', ARGV[2], 'cursor', ARGV[3])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[2], 'quota', ARGV[4])
end
for index = next_one, #ARGV, 2 do
  announce(KEYS[3], ARGV[index], ARGV[index + 1])
end
return 'done'
