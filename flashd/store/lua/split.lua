-- split -- Send what is covered of an order that fell short; the rest becomes an order of its own that waits, or is given up.
-- KEYS[1] stock HASH counters
-- KEYS[2] wait ZSET waiting orders
-- KEYS[3] desk ZSET what a human must decide
-- KEYS[4] backorder ZSET orders that wait for goods
-- KEYS[5] owing ZSET who waits for which SKU, first come first
-- KEYS[6] journal STREAM j
-- KEYS[7] dirty ZSET SKUs whose stock changed
-- KEYS[8] splits ZSET rests -> ms when they were split off, kept 30 days
-- KEYS[9] item HASH the record
-- KEYS[10] rest HASH the record of the rest
-- KEYS[11..] queues ZSET q:<backend> of every backend that was ever used
-- ARGV[1] backends names in the order of their queues, joined by a space
-- ARGV[2] by whom
-- ARGV[3] seen the items that the split was made of
-- ARGV[4] first items of what is sent now
-- ARGV[5] content of it
-- ARGV[6] others items of the rest; '' gives it up
-- ARGV[7] rest_content of the rest
-- ARGV[8] rest_digest of the rest
-- ARGV[9] bundles the kits of what is sent now
-- ARGV[10] rest_bundles those of the rest
-- RETURNS {code, state}: `done`, `unknown_order`, `not_allowed`, `changed` (other items by now) or `again`
-- KEEPS the units of both are those of the one; both in exactly one index; an order that was ever sent is not split
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include stock
-- @include kit
-- @include units
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
local splits, next_key = KEYS[8], 11
for name in string.gmatch(ARGV[1], '%S+') do
  keys.q[name], next_key = KEYS[next_key], next_key + 1
end
local item, rest, head = KEYS[9], KEYS[10], read_head(KEYS[9])
local items, first, others = redis.call('HGET', item, 'i'), read_items(ARGV[4]), read_items(ARGV[6])

-- Refuse.
if not head then
  return { 'unknown_order', '' }
end
if redis.call('HGET', item, 'o') == ARGV[5] then
  return { 'done', head.state }
end
if (head.state ~= 'shortfall' and head.state ~= 'backorder') or head.kind ~= 'create' or head.sends > 0
  or redis.call('EXISTS', rest) == 1 then
  return { 'not_allowed', head.state }
end
if items ~= ARGV[3] then
  return { 'changed', head.state }
end
if not keys.q[head.backend] then
  return { 'again', head.state }
end

-- Write. What the first does not need goes back, and the rest takes it in the same step.
local moves, rest_moves, left = {}, {}, {}
items = read_items(items)
for _, old in ipairs(items) do
  left[field_of(old.sku, old.location)] = old.taken
end
for _, part in ipairs(first) do
  local field = field_of(part.sku, part.location)
  part.taken, left[field] = part.quantity, left[field] - part.quantity
end
for _, old in ipairs(items) do
  give_back(keys.stock, old.sku, old.location, left[field_of(old.sku, old.location)], moves)
end
for _, part in ipairs(others) do
  local level = level_of(keys.stock, part.sku, part.location)
  part.taken = math.min(left[field_of(part.sku, part.location)] or 0, part.quantity)
  if part.taken > 0 then
    rest_moves[#rest_moves + 1] = shift(level, 0, 0, part.taken, 0, 0)
  end
end
local doubt, short = doubt_of(redis.call('HGET', item, 'x') or ''), missing_of(first)
write_items(item, first)
redis.call('HSET', item, 'o', ARGV[5])
write_bundles(item, read_bundles(ARGV[9]), true)
enter(keys, item, head, place(head, short, doubt), explain(doubt, short, {}), moves, 'order.split')
remember(item, 'split by ' .. ARGV[2] .. (#others > 0 and ': the rest waits for goods' or ': the rest is given up'))
if #others > 0 then
  local new = new_head({ version = head.version, digest = ARGV[8] }, 'create', head.backend)
  new.accepted, new.waits, new.released = head.accepted, head.waits, head.released
  redis.call('HSET', rest, 'o', ARGV[7])
  redis.call('ZREMRANGEBYSCORE', splits, '-inf', whole(now_ms - 30 * 86400000))
  redis.call('ZADD', splits, whole(now_ms), member_of(rest))
  write_items(rest, others)
  write_bundles(rest, read_bundles(ARGV[10]), false)
  enter(keys, rest, new, 'backorder', explain(doubt, missing_of(others), {}), rest_moves)
end
write_levels(keys.stock, keys.journal, keys.dirty)
return { 'done', head.state }
