-- A delivered order was edited: what the edit adds is taken at once, what it reduced travels with the amend until the
-- backend knows. Needs follow_up.lua, write_order.lua, units.lua.

function write.amend(c)
  local follow = read_head(c.amend_key)
  if can_wait(follow) then
    keep_next(c.keys, c.amend_key, c.entry)
    note_order(c)
    return 'later', {}
  elseif follow and follow.state ~= 'cancelled' and follow.digest == c.entry.digest then
    note_order(c)
    drop_next(c.keys, c.amend_key)
    return 'updated', {}
  end
  local spare, items, moves = {}, read_items(c.entry.items), {}
  collect(spare, read_items(redis.call('HGET', c.key, 'i')))
  collect(spare, follow and read_items(redis.call('HGET', c.amend_key, 'i')) or {})
  for _, item in ipairs(items) do
    local there = spare[field_of(item.sku, item.location)]
    if there then
      item.counted = math.min(there.counted, item.quantity)
      item.taken = math.min(there.taken, item.quantity - item.counted)
      there.taken, there.counted = there.taken - item.taken, there.counted - item.counted
      there.quantity = there.taken + there.counted
    end
  end
  local short, unknown = take_units(c.keys.stock, items, moves)
  if #moves > 0 then -- until the amend is delivered, the backend does not know of these units
    redis.call('HDEL', c.key, 'd', 'p')
  end
  note_order(c, items)
  write_follow_up(c, 'amend', c.amend_key, follow, spare, moves, explain(c.entry.reason, short, unknown))
  return 'updated', short
end
