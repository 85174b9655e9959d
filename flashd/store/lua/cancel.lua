-- cancel -- Cancel an item by a human's decision; no later version revives it.
-- KEYS[1] stock HASH counters
-- KEYS[2] wait ZSET waiting orders
-- KEYS[3] desk ZSET what a human must decide
-- KEYS[4] dead ZSET dead letters
-- KEYS[5] done ZSET settled orders
-- KEYS[6] pending ZSET orders with a newer version that waits
-- KEYS[7] journal STREAM j
-- KEYS[8] dirty ZSET SKUs whose stock changed
-- KEYS[9] backorder ZSET orders that wait for goods
-- KEYS[10] owing ZSET who waits for which SKU, first come first
-- KEYS[11] use HASH what counts against quotas and limits
-- KEYS[12] item HASH the record
-- KEYS[13] order HASH the record of the order that it follows; the same for an order
-- KEYS[14..] queues ZSET q:<backend> of every backend that was ever used
-- ARGV[1] backends names in the order of their queues, joined by a space
-- ARGV[2] by whom
-- ARGV[3] reason why
-- RETURNS {code, state}: `done`, `unknown_order`, `not_allowed` (in flight, in doubt, delivered, ignored) or `again`
-- KEEPS the units of an order go back once; those of a follow-up go back to its order; every record in exactly one index
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include stock
-- @include kit
-- @include uses
-- @include units
-- @include waiting
-- @include order_event
-- @include owing
-- @include transition

-- Read.
local keys = {
  stock = KEYS[1], wait = KEYS[2], desk = KEYS[3], dead = KEYS[4], done = KEYS[5], pending = KEYS[6], journal = KEYS[7],
  dirty = KEYS[8], backorder = KEYS[9], owing = KEYS[10], use = KEYS[11], q = {},
}
local next_key = 14
for name in string.gmatch(ARGV[1], '%S+') do
  keys.q[name], next_key = KEYS[next_key], next_key + 1
end
local item, order = KEYS[12], KEYS[13]
local head, newer = read_head(item), read_next(item)
local MAY = {
  waiting = true, queued = true, shortfall = true, backorder = true, parked = true, dead = true, manual = true, cancelled = true,
}

-- Refuse.
if not head then
  return { 'unknown_order', '' }
end
if not MAY[head.state] then
  return { 'not_allowed', head.state }
end
if head.state == 'cancelled' and head.final then
  return { 'done', head.state }
end
if not keys.q[head.backend] then
  return { 'again', head.state }
end

-- Write.
local items, moves, told = read_items(redis.call('HGET', item, 'i')), {}, ''
if item == order then
  local uses = read_uses(redis.call('HGET', item, 'u'))
  change_uses(keys, uses, new_bag())
  redis.call('HDEL', item, 'u')
  told = tell_uses(uses, new_bag())
  give_all(keys.stock, items, moves)
else
  local theirs = read_items(redis.call('HGET', order, 'i'))
  hand_over(items, theirs)
  write_items(order, theirs)
end
write_items(item, items)
if newer then
  head.version = newer.version
  drop_next(keys, item)
end
head.final = true
enter(keys, item, head, 'cancelled', ARGV[3] .. ' (by ' .. ARGV[2] .. ')', moves, 'order.cancelled', told)
write_levels(keys.stock, keys.journal, keys.dirty)
return { 'done', head.state }
