-- extend -- Let a live hold end later, within a bound; never earlier.
-- KEYS[1] stock HASH counters, not touched
-- KEYS[2] hold HASH reservations
-- KEYS[3] hold_due ZSET live holds by deadline
-- KEYS[4] hold_end ZSET ended holds, not touched
-- KEYS[5] journal STREAM j
-- KEYS[6] dirty ZSET SKUs whose stock changed, not touched
-- KEYS[7] use HASH what counts against quotas and limits, not touched
-- ARGV[1] id hold id
-- ARGV[2] ttl_ms from now
-- ARGV[3] max_total_ms since it began
-- RETURNS {code, state, deadline ms}: `held`, or `gone` where it is not held any more
-- KEEPS the units that are held; a deadline only rises
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
local keys = { stock = KEYS[1], hold = KEYS[2], hold_due = KEYS[3], hold_end = KEYS[4], journal = KEYS[5] }
local ttl, most = integer(ARGV[2]), integer(ARGV[3])
local hold = read_hold(keys, ARGV[1])

-- Refuse.
if not ttl or not most then
  return redis.error_reply('ERR flashd: extend wants whole numbers')
end
if not hold then
  return { 'gone', '', '0' }
end
if hold.state ~= 'held' then
  return { 'gone', hold.state, whole(hold.expires) }
end

-- Write.
local expires = math.min(now_ms + ttl, hold.began + most)
if expires > hold.expires then
  hold.expires = expires
  write_hold(keys, hold)
  redis.call('ZADD', keys.hold_due, whole(expires), hold.id)
  announce(
    keys.journal, 'hold.extended',
    '"hold":' .. quoted(hold.id) .. ',"channel":' .. quoted(hold.channel) .. ',"expires_ms":' .. whole(expires)
  )
end
return { 'held', 'held', whole(hold.expires) }
