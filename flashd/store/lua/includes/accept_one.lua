-- One version of one order: Read, Refuse, Write. *c* brings key, cancel_key, amend_key, entry, kinds, keys, and replay
-- where the entry is the version that waited. Needs decide.lua,
-- reservation.lua, plan.lua, write_stock.lua, revoke.lua, amend.lua.
local TAKES = { take = true, edit = true, correct = true, amend = true }
local ANSWERS = { ['repeat'] = true, stale = true, conflict = true }

local function unknown_of(c)
  local unknown, wants = {}, c.demand.wants
  for _, sku in ipairs(wants.order) do
    if not is_known(c.keys.stock, sku, c.demand.terms) then
      unknown[#unknown + 1] = sku
      unknown[#unknown + 1] = whole(wants.units[sku])
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
  if c.head and not c.replay then
    c.waiting = read_next(c.key)
  end
  local verdict = decide(c.head, c.waiting, c.entry)
  local state = c.head and c.head.state
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
    plan(c, verdict)
    local unknown = c.entry.strict and unknown_of(c) or {}
    if #unknown > 0 then
      return reply_of('unknown_sku', state, unknown)
    end
    local function supplied()
      return is_supplied(c.demand)
    end
    if cover(c.keys, supplied, c.hold and c.hold.id) == 'again' then
      return reply_of('again', state)
    end
  end

  -- Write.
  local code, short = write[verdict](c)
  return reply_of(code, c.head.state, short)
end
