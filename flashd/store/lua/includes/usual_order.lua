-- One version of an order as most are: new, to be delivered or waiting to be paid, without a doubt, its units free, or granted to its
-- channel, or under a live hold of just these. It leads to what accept_one.lua leads to, and a test puts both to the same
-- orders. Needs usual_wish.lua, usual_uses.lua, usual_listing.lua, filing.lua, journal.lua, clock.lua.
local LIVE = '^held\029([^\029]*\029%d+\029%d+\029)0\029([^\029]*)(\029[^\029]*\029)\029\029([^\029]*)\029\029([^\029]*)$'
local TOMBSTONE = 30 * 86400000
local now = whole(now_ms)

-- What is alike in all orders of a group.
local function prepare_group(keys, group)
  local waits = group.effect == 'wait'
  local state, index = waits and 'waiting' or 'queued', waits and keys.wait or keys.q[group.backend]
  group.index = group.admit and group.reason == '' and (waits or group.effect == 'deliver') and keys.q[group.backend] and index
  group.listed = group.terms.mode ~= 'none'
  group.channel = string.match(group.shelf, ':exp:(.*)$')
  group.id_from = #group.channel + 2
  group.named = '"order":{"channel":' .. quoted(group.channel) .. ',"id":'
  group.head = state .. ' '
  group.head_end = ' create ' .. group.backend .. ' 0 0 0 0 0 ' .. now .. ' ' .. now .. (waits and ' w' or ' -')
  group.timeline = now .. ' accepted ' .. state .. '\n'
  group.told = ',"item":"create","state":"' .. state .. '","backend":' .. quoted(group.backend) .. ',"version":'
  group.answer = { 'accepted', state }
end

-- Returns the parts of a hold of just what *wish* wants, nil where none is alive, or false where it is of another kind.
local function read_usual_hold(keys, id, wish, group)
  local packed = id ~= '' and redis.call('HGET', keys.hold, id)
  if not packed or string.sub(packed, 1, 5) ~= 'held\029' then
    return nil
  end
  local began, channel, customer, items, uses = string.match(packed, LIVE)
  for _, location in ipairs(items and not group.listed and group.terms.locations or {}) do
    local lot = lot_at(keys, wish, location)
    if lot and lot.bare == items then
      return { id = id, began = began, channel = channel, customer = customer, uses = uses, lot = lot }
    end
  end
  return false
end

-- What a hold counts for, as the member of an event: as much more, or as much less.
local function told_uses(packed, sign)
  local told = {}
  for field, units in string.gmatch(packed, '([^\030]+)\030(%d+)') do
    told[#told + 1] = '[' .. quoted_id(field) .. ',' .. sign .. units .. ']'
  end
  return #told > 0 and ',"uses":[' .. table.concat(told, ',') .. ']' or ''
end

local function sell_usual_hold(keys, hold, member, named)
  local moves = shift_lot(hold.lot, 'unheld', -1, 0, 0)
  redis.call(
    'HSET', keys.hold, hold.id,
    'sold\029' .. hold.began .. now .. '\029' .. hold.channel .. hold.customer .. member .. '\029\029\029\029'
  )
  take_out(keys.hold_due, hold.id)
  file(keys.hold_end, whole(now_ms + TOMBSTONE), hold.id)
  announce(
    keys.journal, 'hold.sold',
    '"hold":' .. quoted_id(hold.id) .. ',"channel":' .. quoted(hold.channel) .. ',' .. named .. told_uses(hold.uses, '-') .. moves
  )
end

local record = { 'HSET', '', 's', '', 'i', '', 'o', '', 't' } -- one table for all: the key is the second, values stand behind

local function write_usual_record(group, key, entry, taken, uses, hold)
  record[2], record[4] = key, group.head .. entry.version .. ' ' .. entry.digest .. group.head_end
  record[6], record[8], record[10] = taken, entry.content, group.timeline
  local size = 10
  if entry.raw ~= '' then
    record[11], record[12], size = 'b', entry.raw, 12
  end
  if hold then
    record[size + 1], record[size + 2], size = 'h', hold.id, size + 2
  end
  if uses ~= '' then
    record[size + 1], record[size + 2], size = 'u', uses, size + 2
  end
  redis.call(unpack(record, 1, size))
end

-- Returns from where the units of *wish* come and what they count for; no lot where the order is not as usual.
local function source_of(keys, group, wish, entry)
  local hold = read_usual_hold(keys, entry.hold, wish, group)
  if hold ~= nil then
    return { hold = hold, lot = hold and hold.lot }
  end
  local source = {}
  if group.listed then
    source.lot, source.granted = listed_lot(keys, group, wish)
  else
    source.lot = free_lot(keys, wish, group.terms)
  end
  if source.lot and wish.ruled then
    local placed = integer(entry.placed)
    source.uses = count_usual(keys, wish, group.channel, entry.customer, placed > 0 and placed or now_ms)
    source.lot = source.uses and source.lot
  end
  return source
end

-- Returns the reply, or nil where the order is not of this kind: then nothing was written.
local function accept_usual(keys, group, key, member, entry)
  -- Read.
  local wish = group.index and wish_of(keys, entry.items)
  if not wish or #entry.version > 15 or string.byte(entry.version) == 48 or redis.call('HGET', key, 's') then
    return nil
  end
  local source = source_of(keys, group, wish, entry)
  local lot, hold = source.lot, source.hold

  -- Refuse.
  if not lot then
    return nil
  end

  -- Write.
  local named = group.named .. quoted_id(string.sub(member, group.id_from)) .. '}'
  local uses, told = '', ''
  if hold then
    sell_usual_hold(keys, hold, member, named)
    uses, told = hold.uses, told_uses(hold.uses, '')
  elseif source.uses then
    uses, told = count_in(source.uses)
  end
  if group.listed then
    sell_listed_wish(group.shelf, wish, integer(entry.placed))
  end
  local moves = source.granted and shift_lot(lot, 'granted', 0, 1, -1) or shift_lot(lot, 'sold', 0, 1, 0)
  write_usual_record(group, key, entry, lot.taken, uses, hold)
  file(group.index, now, member)
  announce(keys.journal, 'order.accepted', named .. group.told .. entry.version .. moves .. told)
  return group.answer
end

-- What was gathered is written before anything else reads it, and at the end.
local function write_gathered(keys)
  write_filed()
  write_counted(keys)
  write_rows()
end
