-- One version of one order: Read, Refuse, Write. *c* brings key, cancel_key, amend_key, entry, kinds, keys, and replay
-- where the entry is the version that waited. Needs decide.lua, reservation.lua, write_stock.lua, revoke.lua, amend.lua.
local TAKES = { take = true, edit = true, correct = true, amend = true }
local ANSWERS = { ['repeat'] = true, stale = true, conflict = true }

-- Units that need not be free, by field: those of the hold, of the order, of its amend.
local function units_at_hand(c, verdict)
  local have = {}
  local function add(items, count)
    for _, item in ipairs(items) do
      local field = field_of(item.sku, item.location)
      have[field] = (have[field] or 0) + item[count] + (count == 'taken' and item.counted or 0)
    end
  end
  if c.hold then
    add(c.hold.items, 'quantity')
  elseif verdict ~= 'take' then
    add(read_items(redis.call('HGET', c.key, 'i')), 'taken')
    if verdict == 'amend' then
      add(read_items(redis.call('HGET', c.amend_key, 'i')), 'taken')
    end
  end
  return have
end

local function unknown_of(c, items)
  local unknown = {}
  for _, item in ipairs(items) do
    if not level_of(c.keys.stock, item.sku, item.location) then
      unknown[#unknown + 1] = item.sku
      unknown[#unknown + 1] = whole(item.quantity)
    end
  end
  return unknown
end

local function reply_of(code, state, short)
  local reply = { code, state or '' }
  for _, text in ipairs(short or {}) do
    reply[#reply + 1] = text
  end
  return reply
end

local function accept_one(c)
  -- Read.
  c.head, c.hold, c.waiting = read_head(c.key), nil, nil
  if not c.replay then
    c.waiting = read_next(c.key)
  end
  local verdict = decide(c.head, c.waiting, c.entry)
  local state = c.head and c.head.state
  local items = read_items(c.entry.items)
  if verdict == 'take' and c.entry.hold ~= '' then
    local hold = read_hold(c.keys, c.entry.hold)
    c.hold = hold and hold.state == 'held' and hold or nil
  end

  -- Refuse.
  if ANSWERS[verdict] then
    return reply_of(verdict, state)
  end
  if not c.keys.q[c.head and c.head.backend or c.entry.backend] then
    return reply_of('again', state)
  end
  if TAKES[verdict] then
    local unknown = c.entry.strict and unknown_of(c, items) or {}
    if #unknown > 0 then
      return reply_of('unknown_sku', state, unknown)
    end
    if cover(c.keys, items, units_at_hand(c, verdict), c.hold and c.hold.id) == 'again' then
      return reply_of('again', state)
    end
  end

  -- Write.
  local code, short = write[verdict](c)
  return reply_of(code, c.head.state, short)
end
