-- requeue -- Send an item (again) by a human's decision, mended if new content is given.
-- KEYS[1] stock HASH counters
-- KEYS[2] hold HASH reservations
-- KEYS[3] hold_due ZSET live holds by deadline
-- KEYS[4] hold_end ZSET ended holds by the time they may go
-- KEYS[5] wait ZSET waiting orders
-- KEYS[6] desk ZSET what a human must decide
-- KEYS[7] dead ZSET dead letters
-- KEYS[8] done ZSET settled orders
-- KEYS[9] pending ZSET orders with a newer version that waits
-- KEYS[10] journal STREAM j
-- KEYS[11] dirty ZSET SKUs whose stock changed
-- KEYS[12] backorder ZSET orders that wait for goods
-- KEYS[13] owing ZSET who waits for which SKU, first come first
-- KEYS[14] kit HASH what kits are made of
-- KEYS[15] use HASH what counts against quotas and limits
-- KEYS[16] item HASH the record
-- KEYS[17..] queues ZSET q:<backend> of every backend that was ever used
-- ARGV[1] backends names in the order of their queues, joined by a space
-- ARGV[2] by whom
-- ARGV[3] items of the mended content
-- ARGV[4] content mended, or ''
-- ARGV[5] backend to send it to from now on, or ''
-- ARGV[6] terms of its channel
-- RETURNS {code, state}: `done` (queued, or still a shortfall or backorder), `unknown_order`, `not_allowed` or `again` (as accept)
-- KEEPS on hand = atp + held + sold + safety; other content goes out under another key; every record in exactly one index
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include rule_parts
-- @include rules
-- @include stock
-- @include kit
-- @include uses
-- @include allowance
-- @include units
-- @include terms
-- @include pick
-- @include listing_row
-- @include listing
-- @include draw
-- @include reservation
-- @include waiting
-- @include order_event
-- @include owing
-- @include transition
-- @include decide

-- Read.
local keys = {
  stock = KEYS[1], hold = KEYS[2], hold_due = KEYS[3], hold_end = KEYS[4], wait = KEYS[5], desk = KEYS[6], dead = KEYS[7],
  done = KEYS[8], pending = KEYS[9], journal = KEYS[10], dirty = KEYS[11], backorder = KEYS[12],
  owing = KEYS[13], kit = KEYS[14], use = KEYS[15], q = {},
}
local next_key = 17
for name in string.gmatch(ARGV[1], '%S+') do
  keys.q[name], next_key = KEYS[next_key], next_key + 1
end
local item, head = KEYS[16], read_head(KEYS[16])
local MAY = { waiting = true, shortfall = true, backorder = true, parked = true, dead = true, manual = true }
local mended = ARGV[4] ~= '' and ARGV[4] ~= redis.call('HGET', item, 'o')
local items = read_items(redis.call('HGET', item, 'i'))
local bundles = read_bundles(redis.call('HGET', item, 'k'))
local takes, terms = head and head.kind == 'create', read_terms(ARGV[6])

-- Refuse.
if not terms then
  return redis.error_reply('ERR flashd: requeue wants terms that can be read')
end
if not head then
  return { 'unknown_order', '' }
end
if head.state == 'queued' and not mended and (ARGV[5] == '' or ARGV[5] == head.backend) then
  return { 'done', head.state }
end
if not MAY[head.state] then
  return { 'not_allowed', head.state }
end
local backend = ARGV[5] ~= '' and ARGV[5] or head.backend
if not keys.q[backend] then
  return { 'again', head.state }
end
local ordered = (mended and takes) and bag_of(read_items(ARGV[3])) or ordered_of(items, bundles)
local wants, bundles_now = take_apart(keys.kit, ordered, bundles)
local demand = {
  stock = keys.stock, wants = wants, terms = terms, old = items, held = {}, sold = {}, returned = {}, blocked = {},
}
local function supplied()
  return is_supplied(demand)
end
if takes and cover(keys, supplied) == 'again' then
  return { 'again', head.state }
end

-- Write.
local moves, short, unknown, told = {}, {}, {}, ''
if takes and mended then -- what it counts for goes along; nothing new is judged
  local before = read_uses(redis.call('HGET', item, 'u'))
  local count = count_uses(keys, { ordered = ordered, had = ordered_of(items, bundles), before = before, fixed = true })
  change_uses(keys, before, count.uses)
  redis.call('HSET', item, 'u', pack_uses(count.uses))
  told = tell_uses(before, count.uses)
end
if takes then
  unclaim(keys, item, head)
  items, short, unknown = draw(demand, moves)
  write_items(item, items)
  write_bundles(item, bundles_now, #bundles > 0)
end
if mended then
  head.revision = head.revision + 1
  redis.call('HSET', item, 'o', ARGV[4])
end
head.backend, head.refusals, head.absences = backend, 0, 0
local state = #short == 0 and 'queued' or head.state == 'backorder' and 'backorder' or 'shortfall'
head.released = head.released or state == 'queued'
local why = explain('', short, unknown)
enter(keys, item, head, state, why, moves, state == 'queued' and 'order.requeued' or nil, told)
remember(item, (mended and 'mended by ' or 'retried by ') .. ARGV[2])
write_levels(keys.stock, keys.journal, keys.dirty)
return { 'done', head.state }
