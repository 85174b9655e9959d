-- What accept writes of an order whose stock moves, one function a verdict. *c* also has hold (a live one or nil) and
-- demand (see plan.lua). Needs draw.lua, reservation.lua, owing.lua, write_order.lua.

function write.take(c)
  local code = c.head and 'updated' or 'accepted'
  local head, moves = c.head or new_head(c.entry, 'create', c.entry.backend), {}
  if not c.head then
    stage(c.key)
  end
  local reason = review(c)
  if c.hold then -- its units leave held, and the order draws on them
    c.hold.order = member_of(c.key)
    end_hold(c.keys, c.hold, 'sold', ',' .. name_order(c.hold.order))
    write_field(c.key, 'h', c.hold.id)
  end
  local items, short, unknown = draw(c.demand, moves)
  local why = explain(reason, short, unknown)
  apply_entry(c, head)
  write_items(c.key, items)
  write_bundles(c.key, c.bundles, c.had_bundles)
  head.revoked = false
  local state = place(head, short, why)
  local uses = write_uses(c, c.count.uses)
  enter(c.keys, c.key, head, state, why, moves, PAST[state] or 'order.accepted', uses)
  if not c.head then
    write_staged()
  end
  c.head = head
  return code, short
end

-- What the version reduced goes back, what it added is taken. *state* where it does not move.
local function rewrite(c, state)
  local moves, reason = {}, review(c)
  unclaim(c.keys, c.key, c.head)
  local items, short, unknown = draw(c.demand, moves)
  local why = explain(reason, short, unknown)
  apply_entry(c, c.head)
  write_items(c.key, items)
  write_bundles(c.key, c.bundles, c.had_bundles)
  local uses = write_uses(c, c.count.uses)
  enter(c.keys, c.key, c.head, state or place(c.head, short, why), why, moves, nil, uses)
  return 'updated', short
end

function write.edit(c)
  return rewrite(c)
end

function write.correct(c)
  return rewrite(c, 'dead')
end

function write.cancel(c)
  local moves = {}
  unclaim(c.keys, c.key, c.head)
  draw(plan_cancel(c, false), moves)
  apply_entry(c, c.head)
  write_items(c.key, read_items(c.entry.items))
  write_bundles(c.key, {}, c.had_bundles)
  enter(c.keys, c.key, c.head, 'cancelled', c.entry.reason, moves, nil, write_uses(c, new_bag()))
  return 'updated', {}
end
