-- apply_next -- Apply the newer versions that waited for an outcome which is known now.
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
-- KEYS[17..] rest MIXED q:<backend> of every backend that was ever used, then per item its order's record, those of cancel and
--   amend, and exp:<channel>
-- ARGV[1] backends names in the order of their queues, joined by a space
-- ARGV[2] kinds which follow-ups the backends take: " erp/cancel erp/amend "
-- ARGV[3..] items for each the kind whose waiting version is meant (create, cancel or amend), and the channel's terms
-- RETURNS per item `applied`, `in_flight` (its outcome is not known yet), `none` (nothing waits) or `again` (as accept)
-- KEEPS what accept keeps; a waiting version is applied once
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
-- @include plan
-- @include write_order
-- @include write_stock
-- @include follow_up
-- @include revoke
-- @include amend
-- @include accept_one

local keys = {
  stock = KEYS[1], hold = KEYS[2], hold_due = KEYS[3], hold_end = KEYS[4], wait = KEYS[5], desk = KEYS[6], dead = KEYS[7],
  done = KEYS[8], pending = KEYS[9], journal = KEYS[10], dirty = KEYS[11], backorder = KEYS[12],
  owing = KEYS[13], kit = KEYS[14], rule = KEYS[15], use = KEYS[16], q = {},
}

local function apply(order_key, cancel_key, amend_key, shelf, kind, terms)
  -- Read.
  local key = ({ create = order_key, cancel = cancel_key, amend = amend_key })[kind]
  local entry, head, parent = read_next(key), read_head(key), read_head(order_key)
  local c = {
    keys = keys, kinds = ARGV[2], key = order_key, cancel_key = cancel_key, amend_key = amend_key, entry = entry,
    shelf = shelf, head = parent, replay = true,
  }

  -- Refuse.
  if not entry or not head then
    redis.call('ZREM', keys.pending, member_of(key))
    return 'none'
  elseif head.state == 'sending' or head.state == 'in_doubt' or (kind == 'create' and head.state == 'manual') then
    return 'in_flight'
  elseif not keys.q[head.backend] then
    return 'again'
  end

  -- Write.
  entry.terms = terms -- as they are now
  if kind == 'create' then
    if accept_one(c)[1] == 'again' then
      return 'again'
    end
  else
    entry.version, entry.digest = math.max(entry.version, parent.version), entry.digest
    write[kind == 'cancel' and 'revoke' or 'amend'](c)
  end
  drop_next(keys, key)
  return 'applied'
end

local first = 17
for name in string.gmatch(ARGV[1], '%S+') do
  keys.q[name], first = KEYS[first], first + 1
end
local replies = {}
for at = 4, #ARGV, 2 do
  if not read_terms(ARGV[at]) then
    return redis.error_reply('ERR flashd: apply_next wants terms that can be read')
  end
end
for index = first, #KEYS, 4 do
  local at = 3 + 2 * #replies
  replies[#replies + 1] =
    apply(KEYS[index], KEYS[index + 1], KEYS[index + 2], KEYS[index + 3], ARGV[at], ARGV[at + 1])
end
write_levels(keys.stock, keys.journal, keys.dirty)
return replies
