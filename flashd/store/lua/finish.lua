#!lua flags=allow-oom
-- finish -- Settle what became of claimed items; delivered is a fact and is taken from anyone.
-- KEYS[1] fence STRING highest epoch seen
-- KEYS[2] queue ZSET q:<backend>
-- KEYS[3] flight ZSET fl:<backend>
-- KEYS[4] desk ZSET what a human must decide
-- KEYS[5] dead ZSET dead letters
-- KEYS[6] done ZSET settled items
-- KEYS[7] stock HASH counters
-- KEYS[8] journal STREAM j
-- KEYS[9] dirty ZSET SKUs whose stock changed
-- KEYS[10] countable ZSET delivered orders whose units a count may lack
-- KEYS[11..] items HASH for each result its record and that of the order that it follows; the same for an order
-- ARGV[1] epoch the caller's term
-- ARGV[2] backend whose results these are
-- ARGV[3..] results for each: kind, reason, backend's own id, delay in ms, whether a refusal counts (0 or 1), most refusals,
--   the attempt it speaks of (0: any)
-- RETURNS per item `done`, `fenced`, `not_in_flight` or `unknown_order`
-- KEEPS every item in exactly one index; delivered stays delivered; units of a delivered follow-up go back to free stock once
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include filing
-- @include order_event
-- @include stock
-- @include kit
-- @include units
-- @include fence
-- @include countable
-- @include returning

local epoch, backend = integer(ARGV[1]), ARGV[2]
local indexes = {
  q = { [backend] = KEYS[2] }, fl = { [backend] = KEYS[3] }, desk = KEYS[4], dead = KEYS[5], done = KEYS[6],
}
-- From where a fact may come late: the lease ended, the item was looked up, queued again or given up meanwhile.
local WANTED = { 's', 't', 'x', 'i', 'd', 'p' }
local MAY_ARRIVE = { queued = true, sending = true, in_doubt = true, dead = true, manual = true }

local function settle(key, head, state, score, reason, note)
  local old = head.state
  head.state, head.changed = state, now_ms
  write_field(key, 's', pack_head(head))
  if reason == '' then
    drop_field(key, 'x')
  else
    write_field(key, 'x', reason)
  end
  file_move(indexes, member_of(key), old, backend, head, score)
  remember(key, note .. (reason ~= '' and ': ' .. string.gsub(reason, '[%c]', ' ') or ''))
end

local function say(key, head, kind, result, moves)
  announce_order(
    KEYS[8], kind, member_of(key), head, result.reason, moves,
    ',"backend_ref":' .. quoted(result.backend_ref) .. ',"sends":' .. whole(head.sends)
  )
end

-- The units of what was cancelled or reduced travelled with the follow-up; the backend knows now, so they may be sold again.
local function return_units(key, order)
  local items, moves = read_items(read_field(key, 'i')), {}
  return_or_let_go(KEYS[7], order, items, moves)
  write_field(key, 'i', pack_items(items))
  return moves
end

-- At its old place where it need not wait, behind those that are due where it must.
local function requeue(key, head, delay_ms, result)
  local score = delay_ms > 0 and now_ms + delay_ms or math.min(head.accepted, now_ms)
  settle(key, head, 'queued', score, result.reason, 'queued')
  say(key, head, 'order.requeued', result)
end

local write = {}

function write.delivered(key, head, result)
  local moves = head.kind ~= 'create' and return_units(key, result.order) or nil
  head.absences = 0
  drop_field(key, 'b')
  if result.backend_ref ~= '' then
    write_field(key, 'r', result.backend_ref)
  end
  settle(key, head, 'delivered', now_ms, '', 'delivered')
  note_delivered(KEYS[10], head, result.order)
  say(key, head, 'order.delivered', result, moves)
end

function write.later(key, head, result)
  head.absences = 0
  requeue(key, head, result.delay_ms, result)
end

function write.doubt(key, head, result)
  local fresh = head.state == 'sending'
  if fresh then
    head.absences = 0
  end
  settle(key, head, 'in_doubt', now_ms + result.delay_ms, result.reason, 'in_doubt')
  if fresh then
    say(key, head, 'order.doubted', result)
  end
end

write.unknown = write.doubt

function write.absent(key, head, result)
  head.absences = head.absences + 1
  if head.absences < 2 then
    return settle(key, head, 'in_doubt', now_ms + result.delay_ms, result.reason, 'absent')
  end
  head.absences = 0
  head.refusals = head.refusals + result.count_refusal
  if head.refusals >= result.max_refusals then
    settle(key, head, 'dead', now_ms, result.reason, 'dead')
    return say(key, head, 'order.buried', result)
  end
  requeue(key, head, 0, result)
end

function write.declined(key, head, result)
  head.refusals = head.refusals + 1
  settle(key, head, 'dead', now_ms, result.reason, 'dead')
  say(key, head, 'order.buried', result)
end

function write.manual(key, head, result)
  if result.backend_ref ~= '' then
    write_field(key, 'r', result.backend_ref)
  end
  settle(key, head, 'manual', now_ms, result.reason, 'manual')
  say(key, head, 'order.left_to_human', result)
end

local function finish(key, result, stale)
  -- Read.
  stage(key, WANTED)
  local head = read_head(key)
  local fact = result.kind == 'delivered'

  -- Refuse.
  if stale and not fact then
    return 'fenced'
  end
  if not head then
    return 'unknown_order'
  end
  local in_flight = head.state == 'sending' or head.state == 'in_doubt'
  if head.backend ~= backend or not (in_flight or (fact and MAY_ARRIVE[head.state] and head.sends > 0)) then
    return 'not_in_flight'
  end
  if not fact and result.sends ~= 0 and result.sends ~= head.sends then
    return 'not_in_flight' -- it speaks of an earlier attempt
  end
  -- A repeated call must not count one absence twice: the second look-up is not due yet.
  if result.kind == 'absent' and tonumber(redis.call('ZSCORE', KEYS[3], member_of(key)) or 0) > now_ms then
    return 'done'
  end

  -- Write.
  write[result.kind](key, head, result)
  write_staged()
  return 'done'
end

-- Read, Refuse: every argument, before the first item is written. Most results say the same numbers.
local results = {}
local numbers = setmetatable({}, {
  __index = function(known, text)
    local number = integer(text)
    known[text] = number
    return number
  end,
})
for index = 11, #KEYS, 2 do
  local at = 3 + #results * 7
  local result = {
    kind = ARGV[at], reason = ARGV[at + 1], backend_ref = ARGV[at + 2], delay_ms = numbers[ARGV[at + 3]],
    count_refusal = numbers[ARGV[at + 4]], max_refusals = numbers[ARGV[at + 5]],
    sends = numbers[ARGV[at + 6]], key = KEYS[index], order = KEYS[index + 1],
  }
  if not epoch or not write[result.kind] or not result.delay_ms or not result.count_refusal or not result.max_refusals
    or not result.sends then
    return redis.error_reply('ERR flashd: finish wants a known kind and whole numbers')
  end
  results[#results + 1] = result
end

-- Write, item by item.
local stale = is_stale(KEYS[1], epoch)
if not stale then
  raise_fence(KEYS[1], epoch)
end
local replies, seen = {}, {}
for index, result in ipairs(results) do
  if seen[result.key] then -- a second result of one item finds it where the first one put it
    write_filed()
  end
  seen[result.key], replies[index] = true, finish(result.key, result, stale)
end
write_filed()
write_levels(KEYS[7], KEYS[8], KEYS[9])
return replies
