-- What accept writes of an order whose stock moves, one function a verdict. *c* also has hold (a live one or nil).
-- Needs units.lua, reservation.lua, write_order.lua.

-- The units of the hold go to the order as far as it wants them, also where a recount left a deficit; the rest is free.
local function use_hold(c, items, moves)
  local held = {}
  for _, item in ipairs(c.hold.items) do
    held[field_of(item.sku, item.location)] = item.quantity
  end
  c.hold.order = member_of(c.key)
  end_hold(c.keys, c.hold, 'sold', ',' .. name_order(c.hold.order))
  for _, item in ipairs(items) do
    local units = math.min(item.quantity, held[field_of(item.sku, item.location)] or 0)
    if units > 0 then
      moves[#moves + 1] = shift(level_of(c.keys.stock, item.sku, item.location), 0, 0, units, 0, 0)
      item.taken = units
    end
  end
end

function write.take(c)
  local code = c.head and 'updated' or 'accepted'
  local head, items, moves = c.head or new_head(c.entry, 'create', c.entry.backend), read_items(c.entry.items), {}
  if c.hold then
    use_hold(c, items, moves)
    redis.call('HSET', c.key, 'h', c.hold.id)
  end
  local short, unknown = take_units(c.keys.stock, items, moves)
  local why = explain(c.entry.reason, short, unknown)
  apply_entry(c, head)
  write_items(c.key, items)
  local state = place(head, short, why)
  enter(c.keys, c.key, head, state, why, moves, PAST[state] or 'order.accepted')
  c.head = head
  return code, short
end

-- What the version reduced goes back, what it added is taken. *state* where it does not move.
local function rewrite(c, state)
  local items, moves = read_items(c.entry.items), {}
  carry_units(c.keys.stock, read_items(redis.call('HGET', c.key, 'i')), items, moves)
  local short, unknown = take_units(c.keys.stock, items, moves)
  local why = explain(c.entry.reason, short, unknown)
  apply_entry(c, c.head)
  write_items(c.key, items)
  enter(c.keys, c.key, c.head, state or place(c.head, short, why), why, moves)
  return 'updated', short
end

function write.edit(c)
  return rewrite(c)
end

function write.correct(c)
  return rewrite(c, 'dead')
end

function write.cancel(c)
  local old, moves = read_items(redis.call('HGET', c.key, 'i')), {}
  give_all(c.keys.stock, old, moves)
  apply_entry(c, c.head)
  write_items(c.key, read_items(c.entry.items))
  enter(c.keys, c.key, c.head, 'cancelled', c.entry.reason, moves)
  return 'updated', {}
end
