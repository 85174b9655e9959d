-- What follows a delivered order: a record of its own, `cancel` or `amend`. Needs transition.lua, units.lua.
-- A follow-up's items are the units that return to free stock when it is delivered. *c* is what accept_one.lua makes.
local BY_HAND = 'a human must do this in the backend'

local function note_order(c, items)
  c.head.version, c.head.digest = c.entry.version, c.entry.digest
  write_head(c.key, c.head)
  if items then
    write_items(c.key, items)
  end
  if c.waiting then
    drop_next(c.keys, c.key)
  end
end

local function can_wait(follow)
  return follow and (follow.state == 'sending' or follow.state == 'in_doubt')
end

local function write_follow_up(c, kind, key, follow, spare, moves, why, uses)
  local over = not follow or SETTLED[follow.state]
  local head = follow or new_head(c.entry, kind, c.head.backend)
  if over then
    head.revision = follow and head.revision + 1 or 0
    head.refusals, head.absences = 0, 0
  end
  head.version, head.digest = c.entry.version, c.entry.digest
  local state, reason = head.state, redis.call('HGET', key, 'x') or ''
  if over or why ~= '' then
    local taken = string.find(c.kinds, ' ' .. c.head.backend .. '/' .. kind .. ' ', 1, true)
    if state ~= 'dead' then
      state = (taken and why == '') and 'queued' or 'manual'
      reason = why ~= '' and why or taken and '' or BY_HAND
    end
  end
  write_content(key, c.entry)
  write_items(key, list_of(spare))
  drop_next(c.keys, key)
  enter(c.keys, key, head, state, reason, moves, over and 'order.followed_up' or nil, uses)
end
