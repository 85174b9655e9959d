-- backorder -- Let an order that fell short wait for goods; it takes what is free by now.
-- KEYS[1] stock HASH counters
-- KEYS[2] wait ZSET waiting orders
-- KEYS[3] desk ZSET what a human must decide
-- KEYS[4] backorder ZSET orders that wait for goods
-- KEYS[5] owing ZSET who waits for which SKU, first come first
-- KEYS[6] journal STREAM j
-- KEYS[7] dirty ZSET SKUs whose stock changed
-- KEYS[8] item HASH the record
-- KEYS[9..] queues ZSET q:<backend> of every backend that was ever used
-- ARGV[1] backends names in the order of their queues, joined by a space
-- ARGV[2] by whom
-- RETURNS {code, state}: `done` (it waits, or all was free), `unknown_order`, `not_allowed` or `again`
-- KEEPS owed = what shortfalls and backorders miss; every record in exactly one index
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include stock
-- @include kit
-- @include waiting
-- @include order_event
-- @include owing
-- @include transition
-- @include decide
-- @include serving

-- Read.
local keys = {
  stock = KEYS[1], wait = KEYS[2], desk = KEYS[3], backorder = KEYS[4], owing = KEYS[5], journal = KEYS[6], dirty = KEYS[7], q = {},
}
local next_key = 9
for name in string.gmatch(ARGV[1], '%S+') do
  keys.q[name], next_key = KEYS[next_key], next_key + 1
end
local item, head = KEYS[8], read_head(KEYS[8])

-- Refuse.
if not head then
  return { 'unknown_order', '' }
end
if head.state == 'backorder' then
  return { 'done', head.state }
end
if head.state ~= 'shortfall' or head.kind ~= 'create' then
  return { 'not_allowed', head.state }
end
if not keys.q[head.backend] then
  return { 'again', head.state }
end

-- Write.
unclaim(keys, item, head)
local items, moves = read_items(redis.call('HGET', item, 'i')), {}
for _, wish in ipairs(items) do
  local level = level_of(keys.stock, wish.sku, wish.location)
  if level then
    take_missing(level, wish, free_of(level), moves)
  end
end
local short = missing_of(items)
write_items(item, items)
local doubt = doubt_of(redis.call('HGET', item, 'x') or '')
local state = #short > 0 and 'backorder' or place(head, short, doubt)
enter(keys, item, head, state, #short > 0 and explain(doubt, short, {}) or doubt, moves, state == 'queued' and 'order.requeued' or nil)
remember(item, 'left to wait for goods by ' .. ARGV[2])
write_levels(keys.stock, keys.journal, keys.dirty)
return { 'done', head.state }
