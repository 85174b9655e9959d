-- What follows a delivered order: a record of its own, `cancel` or `amend`. Needs transition.lua.
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

-- Adds the taken and the counted units of *items* to *spare*, and takes them from *items*.
local function collect(spare, items)
  for _, item in ipairs(items) do
    if item.taken + item.counted > 0 then
      local field = field_of(item.sku, item.location)
      local there = spare[field]
      if not there then
        there = { sku = item.sku, location = item.location, quantity = 0, taken = 0, counted = 0 }
        spare[field], spare[#spare + 1] = there, there
      end
      there.quantity = there.quantity + item.taken + item.counted
      there.taken, there.counted = there.taken + item.taken, there.counted + item.counted
      item.taken, item.counted = 0, 0
    end
  end
end

local function list_of(spare)
  local list = {}
  for _, item in ipairs(spare) do
    list[#list + 1] = item.quantity > 0 and item or nil
  end
  return list
end

local function can_wait(follow)
  return follow and (follow.state == 'sending' or follow.state == 'in_doubt')
end

local function write_follow_up(c, kind, key, follow, spare, moves, why)
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
  enter(c.keys, key, head, state, reason, moves, over and 'order.followed_up' or nil)
end
