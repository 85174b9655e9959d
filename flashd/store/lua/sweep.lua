#!lua flags=allow-oom
-- sweep -- End overdue holds, and purge tombstones that stood long enough.
-- KEYS[1] stock HASH counters
-- KEYS[2] hold HASH reservations
-- KEYS[3] hold_due ZSET live holds by deadline
-- KEYS[4] hold_end ZSET ended holds by the time they may go
-- KEYS[5] journal STREAM j
-- KEYS[6] dirty ZSET SKUs whose stock changed
-- KEYS[7] use HASH what counts against quotas and limits
-- ARGV[1] limit how many of each
-- RETURNS how many holds ended
-- KEEPS on hand = atp + held + sold + safety; a hold leaves HELD once
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include stock
-- @include kit
-- @include uses
-- @include reservation

-- Read.
local keys = {
  stock = KEYS[1], hold = KEYS[2], hold_due = KEYS[3], hold_end = KEYS[4], journal = KEYS[5], dirty = KEYS[6],
  use = KEYS[7],
}
local limit = integer(ARGV[1])

-- Refuse.
if not limit then
  return redis.error_reply('ERR flashd: sweep wants a whole number')
end

-- Write.
local ended = sweep_due(keys, limit)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', keys.hold_end, '-inf', whole(now_ms), 'LIMIT', 0, whole(limit))) do
  redis.call('HDEL', keys.hold, id)
  redis.call('ZREM', keys.hold_end, id)
end
write_levels(keys.stock, keys.journal, keys.dirty)
return ended
