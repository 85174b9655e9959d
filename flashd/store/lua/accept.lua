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
-- KEYS[17..] rest MIXED q:<backend> of each backend that is listed, exp:<channel> of each channel, then per order
--   its record and, of a group that is not strict, those of its cancel and amend
-- ARGV[1] backends names in the order of their queues, joined by a space: those that the orders go to, or all ever used
-- ARGV[2] kinds which follow-ups the backends take: " erp/cancel erp/amend "
-- ARGV[3] channels how many channels the orders come from
-- ARGV[4] groups of what is alike in many orders, as msgpack, one value behind the other: effect, strict, admit, reason, terms
-- ARGV[5] facts of each order, packed likewise: the numbers of its group and channel, version, digest, hold id, items, placed ms,
--   customer, the number of its backend
-- ARGV[6..] texts for each order: content, raw body
-- RETURNS per order {code, state, SKU, units ...}: `accepted`, `updated`, `repeat`, `stale`, `later`, `conflict`,
--   `unknown_sku`, or `again` (nothing written: overdue holds are left to sweep, or a backend was not listed); or, of an order
--   that is as most are, 1: accepted, queued or in a group that waits waiting, and nothing short
-- KEEPS on hand = atp + held + sold + safety; versions only rise; a hold leaves HELD once; every record in exactly one index
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include stock
-- @include terms
-- @include values

-- A function around functions: what they take from outside is found once, which for so many costs half of making them.
local prepare_group, prepare_channel, accept_usual, write_gathered = (function()
-- @include know_sales
-- @include filing
-- @include usual_wish

-- The same for what a channel shows.
local listings = nil
local function know_listings()
  listings = listings or (function()
-- @include listing_row
-- @include usual_listing
    return { lot = listed_lot, sell = sell_listed_wish, write = write_rows }
  end)()
  return listings
end
-- @include usual_order
  return prepare_group, prepare_channel, accept_usual, write_gathered
end)()

-- Read.
local keys = {
  stock = KEYS[1], hold = KEYS[2], hold_due = KEYS[3], hold_end = KEYS[4], wait = KEYS[5], desk = KEYS[6], dead = KEYS[7],
  done = KEYS[8], pending = KEYS[9], journal = KEYS[10], dirty = KEYS[11], backorder = KEYS[12],
  owing = KEYS[13], kit = KEYS[14], rule = KEYS[15], use = KEYS[16], q = {},
}
local key_at, backends = 17, {}
for name in string.gmatch(ARGV[1], '%S+') do
  backends[#backends + 1], keys.q[name], key_at = name, KEYS[key_at], key_at + 1
end
local channels = {}
for index = 1, integer(ARGV[3]) or 0 do
  channels[index], key_at = prepare_channel(KEYS[key_at]), key_at + 1
end
local groups, alike = {}, read_values(ARGV[4])
for at = 1, #alike, 5 do
  groups[#groups + 1] = {
    effect = alike[at], strict = alike[at + 1], admit = alike[at + 2], reason = alike[at + 3], terms_text = alike[at + 4],
    terms = read_terms(alike[at + 4] or ''), usual = false,
  }
end
local facts = read_values(ARGV[5])
local orders = (#ARGV - 5) / 2

-- Refuse.
for at = 1, 9 * orders, 9 do
  local group = groups[facts[at]]
  local is_from_there = channels[facts[at + 1]] and backends[facts[at + 8]]
  if not (group and group.terms and is_from_there and in_digits(facts[at + 2]) and type(facts[at + 6]) == 'number') then
    return redis.error_reply('ERR flashd: accept wants of an order its group, its channel, a version in digits, an instant, its backend')
  end
end
if #facts ~= 9 * orders then
  return redis.error_reply('ERR flashd: accept wants nine facts and two texts an order')
end

-- Write, order by order.
for index = 1, #groups do
  groups[index].usual = prepare_group(groups[index])
end
local replies, accept_one, at = {}, nil, 1
patience = orders > patience and 1 or patience
for index = 1, orders do
  local group, channel, backend = groups[facts[at]], channels[facts[at + 1]], backends[facts[at + 8]]
  local key, content, raw = KEYS[key_at], ARGV[4 + 2 * index], ARGV[5 + 2 * index]
  local reply = accept_usual(keys, group.usual, channel, backend, key, facts, at, content, raw)
  if not reply and not accept_one then -- a hundred and fifty functions, made only where one of them is wanted
    accept_one = (function()
-- @include record
-- @include rule_parts
-- @include rules
-- @include kit
-- @include uses
-- @include allowance
-- @include units
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
-- @include plan
-- @include write_order
-- @include write_stock
-- @include follow_up
-- @include revoke
-- @include amend
-- @include accept_one
      return accept_one
    end)()
  end
  if not reply then
    write_gathered(keys)
    reply = accept_one({
      keys = keys, kinds = ARGV[2], key = key, cancel_key = KEYS[key_at + 1], amend_key = KEYS[key_at + 2], shelf = channel.shelf,
      entry = {
        version = integer(facts[at + 2]), digest = facts[at + 3], hold = facts[at + 4], items = facts[at + 5], content = content,
        raw = raw, placed = facts[at + 6], customer = facts[at + 7], effect = group.effect, strict = group.strict,
        admit = group.admit, backend = backend, reason = group.reason, terms = group.terms_text,
      },
    })
  end
  replies[index] = reply
  key_at, at = key_at + (group.strict and 1 or 3), at + 9
end
write_gathered(keys)
write_levels(keys.stock, keys.journal, keys.dirty)
return replies
