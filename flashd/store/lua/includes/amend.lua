-- A delivered order was edited: what the edit adds is taken at once, what it reduced travels with the amend until the
-- backend knows. Needs follow_up.lua, write_order.lua, plan.lua, draw.lua.

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
  if not c.demand then
    plan(c, 'amend')
  end
  local moves, reason = {}, review(c)
  local items, short, unknown, spare = draw(c.demand, moves)
  c.head.revoked = false
  if #moves > 0 then -- until the amend is delivered, the backend does not know of these units
    redis.call('HDEL', c.key, 'd', 'p')
  end
  note_order(c, items)
  write_bundles(c.key, c.bundles, c.had_bundles)
  local why, uses = explain(reason, short, unknown), write_uses(c, c.count.uses)
  write_follow_up(c, 'amend', c.amend_key, follow, spare, moves, why, uses)
  return 'updated', short
end
