-- ship -- Note since when the goods of a delivered order are gone: from then on a physical count lacks them.
-- KEYS[1] journal STREAM j
-- KEYS[2] countable ZSET delivered orders whose units a count may lack
-- KEYS[3] order HASH the record
-- KEYS[4] cancel HASH the record of its cancel
-- KEYS[5] amend HASH the record of its amend
-- ARGV[1] at ms since 1970, 0 for now
-- ARGV[2] by whom
-- RETURNS {code, state}: `done`, `unknown_order` or `not_allowed`
-- KEEPS the first shipment that was told stays
-- CLOCK server, but for the instant that is told

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include filing
-- @include stock
-- @include order_event
-- @include countable

-- Read.
local order, head, at = KEYS[3], read_head(KEYS[3]), integer(ARGV[1])

-- Refuse.
if not at then
  return redis.error_reply('ERR flashd: ship wants a whole number')
end
if not head then
  return { 'unknown_order', '' }
end
if head.state ~= 'delivered' then
  return { 'not_allowed', head.state }
end
if redis.call('HEXISTS', order, 'p') == 1 then
  return { 'done', head.state }
end

-- Write.
redis.call('HSET', order, 'p', whole(at > 0 and math.min(at, now_ms) or now_ms))
for _, key in ipairs({ order, KEYS[4], KEYS[5] }) do
  for _, item in ipairs(read_items(redis.call('HGET', key, 'i'))) do
    if item.taken > 0 then
      file_countable(KEYS[2], 's', item.sku, item.location, member_of(order))
    end
  end
end
remember(order, 'shipped, says ' .. ARGV[2])
announce_order(KEYS[1], 'order.shipped', member_of(order), head, nil, nil)
return { 'done', head.state }
