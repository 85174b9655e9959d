#!lua flags=allow-oom
-- settle -- Record a human's word that the backend has a manual or dead item.
-- KEYS[1] stock HASH counters
-- KEYS[2] wait ZSET waiting orders, not touched
-- KEYS[3] desk ZSET what a human must decide
-- KEYS[4] dead ZSET dead letters
-- KEYS[5] done ZSET settled orders
-- KEYS[6] pending ZSET orders with a newer version that waits
-- KEYS[7] journal STREAM j
-- KEYS[8] dirty ZSET SKUs whose stock changed
-- KEYS[9] backorder ZSET orders that wait for goods
-- KEYS[10] owing ZSET who waits for which SKU, first come first
-- KEYS[11] countable ZSET delivered orders whose units a count may lack
-- KEYS[12] item HASH the record
-- KEYS[13] order HASH the record of the order that it follows; the same for an order
-- ARGV[1] backend_ref the backend's own id of it
-- ARGV[2] by whom
-- RETURNS {code, state}: `done`, `unknown_order` or `not_allowed`
-- KEEPS delivered stays delivered; the units of a delivered follow-up go back to free stock once
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include filing
-- @include stock
-- @include kit
-- @include units
-- @include waiting
-- @include order_event
-- @include owing
-- @include countable
-- @include returning
-- @include transition

-- Read.
local keys = {
  stock = KEYS[1], wait = KEYS[2], desk = KEYS[3], dead = KEYS[4], done = KEYS[5], pending = KEYS[6], journal = KEYS[7],
  dirty = KEYS[8], backorder = KEYS[9], owing = KEYS[10], countable = KEYS[11],
}
local item, head, order = KEYS[12], read_head(KEYS[12]), KEYS[13]

-- Refuse.
if not head then
  return { 'unknown_order', '' }
end
if head.state == 'delivered' and redis.call('HGET', item, 'r') == ARGV[1] then
  return { 'done', head.state }
end
if head.state ~= 'manual' and head.state ~= 'dead' then
  return { 'not_allowed', head.state }
end

-- Write.
local moves = {}
if head.kind ~= 'create' then
  local items = read_items(redis.call('HGET', item, 'i'))
  return_or_let_go(keys.stock, order, items, moves)
  write_items(item, items)
end
redis.call('HSET', item, 'r', ARGV[1])
enter(
  keys, item, head, 'delivered', 'settled by ' .. ARGV[2], moves, 'order.delivered', ',"backend_ref":' .. quoted(ARGV[1])
)
note_delivered(keys.countable, head, order)
write_filed()
write_levels(keys.stock, keys.journal, keys.dirty)
return { 'done', head.state }
