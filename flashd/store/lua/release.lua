#!lua flags=allow-oom
-- release -- Give a live hold's stock back.
-- KEYS[1] stock HASH counters
-- KEYS[2] hold HASH reservations
-- KEYS[3] hold_due ZSET live holds by deadline
-- KEYS[4] hold_end ZSET ended holds by the time they may go
-- KEYS[5] journal STREAM j
-- KEYS[6] dirty ZSET SKUs whose stock changed
-- KEYS[7] use HASH what counts against quotas and limits
-- ARGV[1] id hold id
-- ARGV[2] reason for the journal
-- RETURNS {code, state, deadline ms}: `released`, `repeat` (it was released before), or `gone`
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
local hold = read_hold(keys, ARGV[1])

-- Refuse.
if not hold then
  return { 'gone', '', '0' }
end
if hold.state ~= 'held' then
  return { hold.state == 'released' and 'repeat' or 'gone', hold.state, whole(hold.expires) }
end

-- Write.
hold.reason = ARGV[2]
end_hold(keys, hold, 'released', ',"reason":' .. quoted(ARGV[2]))
write_levels(keys.stock, keys.journal, keys.dirty)
return { 'released', 'released', whole(hold.expires) }
