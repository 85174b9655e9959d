-- The table "What accept decides" of docs/lifecycle.md; flashd/domain/acceptance.py is its specification.
local OPEN = { waiting = true, queued = true, shortfall = true, backorder = true, parked = true }
local UNSETTLED = { sending = true, in_doubt = true, manual = true }

-- What becomes of an order that takes no stock yet: none, IGNORED, or CANCELLED and told again.
local function decide_afresh(entry)
  if entry.effect == 'cancel' then
    return 'tombstone'
  elseif entry.effect == 'ignore' or not entry.admit then
    return 'ignore'
  end
  return 'take'
end

local function decide_known(head, waiting, entry)
  local cancel, same = entry.effect == 'cancel', entry.digest == head.digest
  if head.erased and not (cancel and head.state == 'delivered') then
    return 'note' -- nothing brings its customer back; that it was cancelled, its backend is still told
  elseif head.state == 'ignored' then
    return decide_afresh(entry)
  elseif entry.effect == 'ignore' then
    return 'note'
  elseif UNSETTLED[head.state] then
    return (same and not cancel and not waiting) and 'note' or 'later'
  elseif head.state == 'cancelled' then
    return (cancel or head.final) and 'note' or decide_afresh(entry)
  elseif head.state == 'delivered' then
    return cancel and 'revoke' or same and 'note' or 'amend'
  elseif cancel then
    return 'cancel'
  elseif same and entry.effect == (head.waits and 'wait' or 'deliver') then
    return 'note'
  end
  return head.state == 'dead' and 'correct' or 'edit'
end

local function decide(head, waiting, entry)
  if not head then
    return decide_afresh(entry)
  end
  local known = waiting or head
  if entry.strict then
    return entry.digest == known.digest and 'repeat' or 'conflict'
  elseif entry.version < known.version then
    return 'stale'
  elseif entry.version == known.version and entry.digest <= known.digest then
    return 'repeat'
  end
  return decide_known(head, waiting, entry)
end

local function place(head, short, why)
  if #short > 0 then
    return head.state == 'backorder' and 'backorder' or 'shortfall'
  elseif why ~= '' and not head.released then
    return 'parked'
  end
  return head.waits and 'waiting' or 'queued'
end

-- Why a human must look: the channel's reason, what is short, what is unknown.
local function explain(reason, short, unknown)
  local parts = { reason ~= '' and reason or nil }
  local units = {}
  for index = 1, #short, 2 do
    units[#units + 1] = short[index + 1] .. ' of ' .. short[index]
  end
  if #units > 0 then
    parts[#parts + 1] = 'short: ' .. table.concat(units, ', ')
  end
  if #unknown > 0 then
    parts[#parts + 1] = 'unknown SKU: ' .. table.concat(unknown, ', ')
  end
  return table.concat(parts, '; ')
end
