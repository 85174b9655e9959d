#!lua flags=allow-oom
-- recover -- Turn items whose in-flight lease ended into in doubt: never into queued, they may have arrived.
-- KEYS[1] fence STRING highest epoch seen
-- KEYS[2] flight ZSET fl:<backend>
-- KEYS[3] journal STREAM j
-- KEYS[4..] items HASH records to look at
-- ARGV[1] epoch the caller's term
-- ARGV[2] delay_ms until the first look-up
-- ARGV[3] backend whose flight this is
-- RETURNS per item `in_doubt` where it was turned, `left` where it was not due or not sending, `fenced`
-- KEEPS every item in exactly one index; nothing goes back to the queue unseen
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include order_event
-- @include fence

local epoch, delay_ms, backend = integer(ARGV[1]), integer(ARGV[2]), ARGV[3]
local indexes = { fl = { [backend] = KEYS[2] } }

local function recover(key)
  -- Read.
  local head, member = read_head(key), member_of(key)
  local ends = redis.call('ZSCORE', KEYS[2], member)

  -- Refuse.
  if not head or head.state ~= 'sending' or head.backend ~= backend or not ends or tonumber(ends) > now_ms then
    return 'left'
  end

  -- Write.
  local old = head.state
  head.state, head.absences, head.changed = 'in_doubt', 0, now_ms
  redis.call('HSET', key, 's', pack_head(head), 'x', 'lease ended')
  move(indexes, member, old, backend, head, now_ms + delay_ms)
  remember(key, 'in_doubt: lease ended')
  announce_order(KEYS[3], 'order.doubted', member, head, 'lease ended', nil, ',"backend_ref":"","sends":' .. whole(head.sends))
  return 'in_doubt'
end

-- Read, Refuse.
if not epoch or not delay_ms then
  return redis.error_reply('ERR flashd: recover wants whole numbers')
end
local stale = is_stale(KEYS[1], epoch)
local replies = {}

-- Write: the fence, then item by item.
if not stale then
  raise_fence(KEYS[1], epoch)
end
for index = 4, #KEYS do
  replies[#replies + 1] = stale and 'fenced' or recover(KEYS[index])
end
return replies
