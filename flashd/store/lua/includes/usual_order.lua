-- One version of an order as most are: new, to be delivered or waiting to be paid, without a doubt, its units free, or granted to its
-- channel, or under a live hold of just these. It leads to what accept_one.lua leads to, and a test puts both to the same
-- orders. Needs usual_wish.lua, filing.lua, journal.lua, clock.lua, and
-- know_listings of the script.
local LIVE = '^held\029([^\029]*\029%d+\029%d+\029)0\029([^\029]*)(\029[^\029]*\029)\029\029([^\029]*)\029\029([^\029]*)$'
local TOMBSTONE = 30 * 86400000
local ACCEPTED = 1 -- the whole reply: all else follows from the group
local now = whole(now_ms)
local member_from = #KEYS[1] -- in the key of a record, behind "ord:": "stock" stands there in the first key

-- Returns what is alike in all orders of a channel.
local function prepare_channel(shelf)
  local name = string.sub(shelf, member_from) -- "exp:" is as long as "ord:"
  return {
    shelf = shelf, name = name, id_from = member_from + #name + 1, named = '"order":{"channel":' .. quoted(name) .. ',"id":',
  }
end

-- Returns what is alike in all orders of a group.
local function prepare_group(group)
  local waits = group.effect == 'wait'
  local state = waits and 'waiting' or 'queued'
  return {
    is_usual = group.admit and group.reason == '' and (waits or group.effect == 'deliver'), waits = waits,
    terms = group.terms, listings = group.terms.mode ~= 'none' and know_listings(),
    head = state .. ' ', head_end = ' 0 0 0 0 0 ' .. now .. ' ' .. now .. (waits and ' w' or ' -'),
    timeline = now .. ' accepted ' .. state .. '\n', told = '},"item":"create","state":"' .. state .. '","backend":', ways = {},
  }
end

-- Returns what is alike in all orders of a group that go to one backend.
local function find_way(keys, group, backend)
  local way = {
    index = group.waits and keys.wait or keys.q[backend], head_end = ' create ' .. backend .. group.head_end,
    told = group.told .. quoted(backend) .. ',"version":',
  }
  group.ways[backend] = way
  return way
end

-- Returns the parts of a hold of just what *wish* wants, nil where none is alive, or false where it is of another kind.
local function read_usual_hold(keys, id, wish, group)
  local packed = redis.call('HGET', keys.hold, id)
  if not packed or string.sub(packed, 1, 5) ~= 'held\029' then
    return nil
  end
  local began, channel, customer, items, uses = string.match(packed, LIVE)
  for _, location in ipairs(items and not group.listings and group.terms.locations or {}) do
    local lot = lot_at(keys, wish, location)
    if lot and items_text(lot, false) == items then
      return { id = id, began = began, channel = channel, customer = customer, uses = uses, lot = lot }
    end
  end
  return false
end

-- What a hold counts for, as the member of an event: as much more, or as much less.
local function told_uses(packed, sign)
  local told = {}
  for field, units in string.gmatch(packed, '([^\030]+)\030(%d+)') do
    told[#told + 1] = '[' .. cjson.encode(field) .. ',' .. sign .. units .. ']'
  end
  return #told > 0 and ',"uses":[' .. table.concat(told, ',') .. ']' or ''
end

local function sell_usual_hold(keys, hold, member, order)
  local moves = shift_lot(hold.lot, 'unheld', -1, 0, 0)
  redis.call(
    'HSET', keys.hold, hold.id,
    'sold\029' .. hold.began .. now .. '\029' .. hold.channel .. hold.customer .. member .. '\029\029\029\029'
  )
  take_out(keys.hold_due, hold.id)
  file(keys.hold_end, whole(now_ms + TOMBSTONE), hold.id)
  announce(
    keys.journal, 'hold.sold',
    '"hold":' .. cjson.encode(hold.id) .. ',"channel":' .. quoted(hold.channel) .. ',' .. order .. '}' .. told_uses(hold.uses, '-') .. moves
  )
end

local function write_usual_record(group, key, head, taken, content, raw, uses, hold)
  if raw ~= '' and uses == '' and not hold then -- as nearly all are: no table is made
    redis.call('HSET', key, 's', head, 'i', taken, 'o', content, 't', group.timeline, 'b', raw)
    return
  end
  local more = {}
  for field, value in pairs({ b = raw, h = hold and hold.id or '', u = uses }) do
    if value ~= '' then
      more[#more + 1], more[#more + 2] = field, value
    end
  end
  redis.call('HSET', key, 's', head, 'i', taken, 'o', content, 't', group.timeline, unpack(more))
end

-- Returns the lot that the units of *wish* come from, the hold it is under, whether it was granted to the channel, and what it
-- counts for; no lot where the order is not as usual.
local function source_of(keys, group, channel, wish, hold_id, placed, customer)
  if hold_id ~= '' then
    local hold = read_usual_hold(keys, hold_id, wish, group)
    if hold ~= nil then
      return hold and hold.lot, hold
    end
  end
  local lot, granted
  if group.listings then
    lot, granted = group.listings.lot(keys, channel.shelf, group.terms, wish)
  else
    lot = free_lot(keys, wish, group.terms)
  end
  if lot and wish.ruled then
    local uses = sales.count(keys, wish, channel.name, customer, placed > 0 and placed or now_ms)
    return uses and lot, nil, granted, uses
  end
  return lot, nil, granted
end

-- Returns the reply, or nil where the order is not of this kind: then nothing was written.
local function accept_usual(keys, group, channel, backend, key, facts, at, content, raw)
  -- Read.
  local version, digest, hold_id, items, placed, customer = unpack(facts, at + 2, at + 7)
  local wish = group.is_usual and wish_of(keys, items)
  if not wish or #version > 15 or string.byte(version) == 48 or redis.call('HGET', key, 's') then
    return nil
  end
  local lot, hold, granted, counts = source_of(keys, group, channel, wish, hold_id, placed, customer)

  -- Refuse.
  if not lot then
    return nil
  end

  -- Write.
  local way = group.ways[backend] or find_way(keys, group, backend)
  local member, id = string.sub(key, member_from), cjson.encode(string.sub(key, channel.id_from))
  local uses, told = '', ''
  if hold then
    sell_usual_hold(keys, hold, member, channel.named .. id)
    uses, told = hold.uses, told_uses(hold.uses, '')
  elseif counts then
    uses, told = sales.count_in(counts)
  end
  if group.listings then
    group.listings.sell(channel.shelf, wish, placed)
  end
  local moves = granted and shift_lot(lot, 'granted', 0, 1, -1) or shift_lot(lot, 'sold', 0, 1, 0)
  write_usual_record(group, key, group.head .. version .. ' ' .. digest .. way.head_end, taken_text(lot), content, raw, uses, hold)
  file(way.index, now, member)
  announce(keys.journal, 'order.accepted', channel.named .. id .. way.told .. version .. moves .. told)
  return ACCEPTED
end

-- What was gathered is written before anything else reads it, and at the end.
local function write_gathered(keys)
  write_filed()
  if sales then
    sales.write(keys)
  end
  if listings then
    listings.write()
  end
end
