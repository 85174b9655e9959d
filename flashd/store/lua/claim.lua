#!lua flags=allow-oom
-- claim -- Take queued items into flight for one leader: counted before the first byte goes out.
-- KEYS[1] fence STRING highest epoch seen
-- KEYS[2] queue ZSET q:<backend>
-- KEYS[3] flight ZSET fl:<backend>
-- KEYS[4..] items HASH for each item its record and the record of the order it belongs to (the same for a create)
-- ARGV[1] epoch the caller's term
-- ARGV[2] lease_ms how long the items may stay in flight
-- ARGV[3] backend whose queue this is
-- RETURNS per item {code, order, revision, backend_ref, sends}: `claimed`, `fenced`, `not_due`, `not_queued`, `changed`
-- KEEPS every item in exactly one index; a claimed one counts one send more
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include filing
-- @include fence

local epoch, lease_ms, backend = integer(ARGV[1]), integer(ARGV[2]), ARGV[3]
local indexes = { q = { [backend] = KEYS[2] }, fl = { [backend] = KEYS[3] } }

local WANTED = { 's', 'n', 't', 'o', 'r' }

-- Returns when each is due by its place in the queue, false where it is not there.
local function read_dues()
  local members = {}
  for index = 4, #KEYS, 2 do
    members[#members + 1] = member_of(KEYS[index])
  end
  return #members > 0 and redis.call('ZMSCORE', KEYS[2], unpack(members)) or {}
end

local function claim(key, parent, due)
  -- Read.
  stage(key, WANTED)
  local head, member = read_head(key), member_of(key)

  -- Refuse.
  if not head or head.state ~= 'queued' or head.backend ~= backend or not due then
    return { 'not_queued' }
  end
  if tonumber(due) > now_ms then
    return { 'not_due' }
  end
  if read_field(key, 'n') then
    return { 'changed' }
  end

  -- Write.
  local old = head.state
  head.state, head.sends, head.epoch, head.changed = 'sending', head.sends + 1, epoch, now_ms
  write_field(key, 's', pack_head(head))
  file_move(indexes, member, old, backend, head, now_ms + lease_ms)
  remember(key, 'sending')
  local order, reference = read_field(key, 'o') or '', read_field(parent, 'r') or ''
  write_staged()
  return { 'claimed', order, whole(head.revision), reference, whole(head.sends) }
end

-- Read, Refuse.
if not epoch or not lease_ms then
  return redis.error_reply('ERR flashd: claim wants whole numbers')
end
local stale = is_stale(KEYS[1], epoch)
local dues, replies = stale and {} or read_dues(), {}

-- Write: the fence, then item by item.
if not stale then
  raise_fence(KEYS[1], epoch)
end
for index = 4, #KEYS, 2 do
  replies[#replies + 1] = stale and { 'fenced' } or claim(KEYS[index], KEYS[index + 1], dues[#replies + 1])
end
write_filed()
return replies
