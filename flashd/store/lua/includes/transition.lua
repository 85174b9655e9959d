-- One item goes from state to state: head, reason, index, timeline and event together. Needs record.lua, waiting.lua,
-- order_event.lua, owing.lua.
local SETTLED = { delivered = true, cancelled = true, ignored = true }
local PAST = {
  parked = 'order.parked', shortfall = 'order.fell_short', backorder = 'order.backordered', cancelled = 'order.cancelled', ignored = 'order.ignored',
  delivered = 'order.delivered',
}

local function new_head(entry, kind, backend)
  return {
    state = false, version = entry.version, digest = entry.digest, kind = kind, backend = backend, sends = 0, refusals = 0,
    epoch = 0, revision = 0, absences = 0, accepted = now_ms, changed = now_ms,
  }
end

local function write_head(key, head)
  head.changed = now_ms
  write_field(key, 's', pack_head(head))
end

local function write_items(key, items)
  write_field(key, 'i', pack_items(items))
end

-- The kits among the items; *had* says whether some may stand there.
local function write_bundles(key, bundles, had)
  if #bundles > 0 then
    write_field(key, 'k', pack_bundles(bundles))
  elseif had then
    drop_field(key, 'k')
  end
end

local function write_content(key, entry)
  write_field(key, 'o', entry.content)
  if entry.raw == '' then
    drop_field(key, 'b')
  else
    write_field(key, 'b', entry.raw)
  end
end

-- *event* is said; without one the new state's own, or order.updated where the state did not change.
local function enter(keys, key, head, state, reason, moves, event, more)
  local old, member = head.state, member_of(key)
  head.state = state
  write_head(key, head)
  if reason == '' then
    drop_field(key, 'x')
  else
    write_field(key, 'x', reason)
  end
  if CLAIMS[old] or CLAIMS[state] then
    owe(keys, key, head)
  end
  if SETTLED[state] then -- no raw body (customer data) longer than it is needed
    redis.call('HDEL', key, 'b')
  end
  if old ~= state then
    move(keys, member, old, head.backend, head, (state == 'waiting' or state == 'backorder') and head.accepted or now_ms)
  end
  if not event then
    event = old ~= state and PAST[state] or 'order.updated'
  end
  remember(key, string.sub(event, 7) .. ' ' .. state .. (reason ~= '' and ': ' .. reason or ''))
  announce_order(keys.journal, event, member, head, reason, moves, more)
end
