-- A delivered order was cancelled: the units travel with the cancel until the backend knows, but for those that the
-- platform put on sale again. Needs follow_up.lua, write_order.lua, plan.lua, draw.lua.

-- Takes an amend away that a cancel overtook; its units travel with the cancel.
local function overtake_amend(c, spare)
  local amend = read_head(c.amend_key)
  if not amend then
    return
  end
  drop_next(c.keys, c.amend_key)
  if not can_wait(amend) and not SETTLED[amend.state] then
    local items = read_items(redis.call('HGET', c.amend_key, 'i'))
    collect(spare, items)
    write_items(c.amend_key, items)
    enter(c.keys, c.amend_key, amend, 'cancelled', 'overtaken by a cancel', {})
  end
end

function write.revoke(c)
  local follow = read_head(c.cancel_key)
  if can_wait(follow) then
    keep_next(c.keys, c.cancel_key, c.entry)
    note_order(c)
    return 'later', {}
  elseif follow and SETTLED[follow.state] then
    note_order(c)
    return 'updated', {}
  end
  local spare, moves = {}, {}
  local demand, items = plan_cancel(c, true)
  local _, _, _, left = draw(demand, moves)
  collect(spare, follow and read_items(redis.call('HGET', c.cancel_key, 'i')) or {})
  collect(spare, left)
  overtake_amend(c, spare)
  c.head.revoked = true
  note_order(c, emptied(items))
  write_follow_up(c, 'cancel', c.cancel_key, follow, spare, moves, '', write_uses(c, new_bag()))
  return 'updated', {}
end
