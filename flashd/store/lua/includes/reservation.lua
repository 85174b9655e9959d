-- One hold, packed in the HASH hold: state, digest, began, expires, ended, channel, customer, order, reason, items and
-- the kits among them and uses, joined by 0x1d. *keys* has stock, hold, hold_due, hold_end, use and journal. Needs
-- clock.lua, record.lua, stock.lua, kit.lua, uses.lua.
local TOMBSTONE_MS = 30 * 86400000

local function read_hold(keys, id)
  local packed = redis.call('HGET', keys.hold, id)
  if not packed then
    return nil
  end
  local part = {}
  for text in string.gmatch(packed .. '\029', '([^\029]*)\029') do
    part[#part + 1] = text
  end
  return {
    id = id, state = part[1], digest = part[2], began = tonumber(part[3]), expires = tonumber(part[4]),
    ended = tonumber(part[5]), channel = part[6], customer = part[7], order = part[8], reason = part[9],
    items = read_items(part[10]), bundles = read_bundles(part[11]), uses = read_uses(part[12]),
  }
end

local function write_hold(keys, hold)
  redis.call('HSET', keys.hold, hold.id, table.concat({
    hold.state, hold.digest, whole(hold.began), whole(hold.expires), whole(hold.ended), hold.channel, hold.customer,
    hold.order, hold.reason, pack_items(hold.items), pack_bundles(hold.bundles), pack_uses(hold.uses),
  }, '\029'))
end

local function announce_hold(keys, hold, moves, more)
  announce(
    keys.journal, 'hold.' .. hold.state,
    '"hold":' .. quoted(hold.id) .. ',"channel":' .. quoted(hold.channel) .. (more or '') .. ',"moves":['
      .. table.concat(moves, ',') .. ']'
  )
end

-- A live hold leaves HELD, once; its units leave held. Where they go is the caller's next step, or free stock; and what it
-- counts for passes to the order that it was sold to, or is given back.
local function end_hold(keys, hold, state, more)
  local moves = {}
  for _, item in ipairs(hold.items) do
    local level = level_of(keys.stock, item.sku, item.location)
    moves[#moves + 1] = level and shift(level, 0, -item.quantity, 0, 0, 0)
  end
  local uses = hold.uses
  hold.state, hold.ended, hold.items, hold.bundles, hold.uses = state, now_ms, {}, {}, new_bag()
  if state ~= 'sold' then
    change_uses(keys, uses, hold.uses)
  end
  write_hold(keys, hold)
  redis.call('ZREM', keys.hold_due, hold.id)
  redis.call('ZADD', keys.hold_end, whole(now_ms + TOMBSTONE_MS), hold.id)
  announce_hold(keys, hold, moves, (more or '') .. tell_uses(uses, hold.uses))
end

-- Ends up to *limit* overdue holds, but not the one called *keep*; an overdue hold that nobody swept is still held.
local function sweep_due(keys, limit, keep)
  local ended = 0
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', keys.hold_due, '-inf', whole(now_ms), 'LIMIT', 0, whole(limit))) do
    local hold = id ~= keep and read_hold(keys, id)
    if hold then
      end_hold(keys, hold, 'expired')
      ended = ended + 1
    end
  end
  return ended
end

local function has_due(keys, keep)
  local ids = redis.call('ZRANGEBYSCORE', keys.hold_due, '-inf', whole(now_ms), 'LIMIT', 0, 2)
  return #ids > 1 or (#ids == 1 and ids[1] ~= keep)
end

-- Sweeps while *test* says no. Returns 'covered', 'short', or 'again' while overdue holds are left to sweep.
local function cover(keys, test, keep)
  if test() then
    return 'covered'
  end
  sweep_due(keys, 32, keep)
  if test() then
    return 'covered'
  end
  return has_due(keys, keep) and 'again' or 'short'
end
