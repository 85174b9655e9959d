-- Delivered orders whose units a count may lack, in the ZSET countable (all scores 0): class, then
-- "<sku> 0x1f <location> 0x1f <order>". Class u: units in sold; s: units in sold, and shipped; c: counted by an available
-- count, so that a physical one may have to put them back. The index is a hint for peeking; records decide.
-- Needs clock.lua, record.lua, stock.lua.
local function file_countable(countable, class, sku, location, member)
  local tail = field_of(sku, location) .. '\031' .. member
  for _, other in ipairs({ 'u', 's', 'c' }) do
    if other == class then
      redis.call('ZADD', countable, 0, other .. tail)
    else
      redis.call('ZREM', countable, other .. tail)
    end
  end
end

-- The backend has all of the order, as it is now. *head* is the item's that was delivered: the order or its amend.
local function note_delivered(countable, head, order)
  if head.kind == 'cancel' or redis.call('HEXISTS', order, 's') == 0 then
    return
  end
  redis.call('HSETNX', order, 'd', whole(now_ms))
  local class = redis.call('HEXISTS', order, 'p') == 1 and 's' or 'u'
  for _, item in ipairs(read_items(redis.call('HGET', order, 'i'))) do
    if item.taken > 0 then
      file_countable(countable, class, item.sku, item.location, member_of(order))
    end
  end
end
