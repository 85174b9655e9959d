-- accept -- Make versions of orders durable and take their stock: many orders in one call, each on its own.
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
-- KEYS[15] rule HASH rules of sales by SKU
-- KEYS[16] use HASH what counts against quotas and limits
-- KEYS[17..] rest MIXED q:<backend> of every backend that was ever used, then per order its record, those of its cancel and amend,
--   and exp:<channel>
-- ARGV[1] backends names in the order of their queues, joined by a space
-- ARGV[2] kinds which follow-ups the backends take: " erp/cancel erp/amend "
-- ARGV[3..] orders for each: version, digest, effect, strict (0 or 1), hold id, backend, reason, admit (0 or 1), items, content, raw body, placed ms, terms,
--   customer
-- RETURNS per order {code, state, SKU, units ...}: `accepted`, `updated`, `repeat`, `stale`, `later`, `conflict`,
--   `unknown_sku`, or `again` (nothing written: overdue holds are left to sweep, or a backend was not listed)
-- KEEPS on hand = atp + held + sold + safety; versions only rise; a hold leaves HELD once; every record in exactly one index
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include sale
-- @include stock
-- @include kit
-- @include uses
-- @include allowance
-- @include units
-- @include pick
-- @include listing
-- @include draw
-- @include reservation
-- @include waiting
-- @include order_event
-- @include owing
-- @include transition
-- @include decide
-- @include plan
-- @include write_order
-- @include write_stock
-- @include follow_up
-- @include revoke
-- @include amend
-- @include accept_one

-- Read.
local keys = {
  stock = KEYS[1], hold = KEYS[2], hold_due = KEYS[3], hold_end = KEYS[4], wait = KEYS[5], desk = KEYS[6], dead = KEYS[7],
  done = KEYS[8], pending = KEYS[9], journal = KEYS[10], dirty = KEYS[11], backorder = KEYS[12],
  owing = KEYS[13], kit = KEYS[14], rule = KEYS[15], use = KEYS[16], q = {},
}
local first = 17
for name in string.gmatch(ARGV[1], '%S+') do
  keys.q[name], first = KEYS[first], first + 1
end
local function flag(text)
  return text == '1'
end
local orders, at = {}, 3
for index = first, #KEYS, 4 do
  orders[#orders + 1] = {
    keys = keys, kinds = ARGV[2], key = KEYS[index], cancel_key = KEYS[index + 1], amend_key = KEYS[index + 2],
    shelf = KEYS[index + 3],
    entry = {
      version = integer(ARGV[at]), digest = ARGV[at + 1], effect = ARGV[at + 2], strict = flag(ARGV[at + 3]),
      hold = ARGV[at + 4], backend = ARGV[at + 5], reason = ARGV[at + 6], admit = flag(ARGV[at + 7]),
      items = ARGV[at + 8], content = ARGV[at + 9], raw = ARGV[at + 10], placed = integer(ARGV[at + 11]),
      terms = ARGV[at + 12], customer = ARGV[at + 13],
    },
  }
  at = at + 14
end

-- Refuse.
for _, order in ipairs(orders) do
  if not order.entry.version or not order.entry.placed or not order.entry.customer or not read_terms(order.entry.terms) then
    return redis.error_reply('ERR flashd: accept wants fourteen arguments an order, version and instant in digits')
  end
end

-- Write, order by order.
local replies = {}
for index, order in ipairs(orders) do
  replies[index] = accept_one(order)
end
write_levels(keys.stock, keys.journal, keys.dirty)
return replies
