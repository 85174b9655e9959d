-- One version of an order as most are: new, to be delivered or waiting to be paid, without a doubt, of a channel that shows no
-- figures, its units free or under a live hold of just these. It leads to what accept_one.lua leads to, and a test puts
-- both to the same orders. Needs usual_wish.lua, filing.lua, journal.lua, clock.lua.
local LIVE = '^held\029([^\029]*\029%d+\029%d+\029)0\029([^\029]*)(\029[^\029]*\029)\029\029([^\029]*)\029\029$'
local TOMBSTONE = 30 * 86400000
local now = whole(now_ms)

-- What is alike in all orders of a group.
local function prepare_group(keys, group)
  local waits = group.effect == 'wait'
  local state, index = waits and 'waiting' or 'queued', waits and keys.wait or keys.q[group.backend]
  group.index = group.admit and group.reason == '' and (waits or group.effect == 'deliver') and group.terms.mode == 'none'
    and keys.q[group.backend] and index or nil
  local channel = string.match(group.shelf, ':exp:(.*)$')
  group.id_from = #channel + 2
  group.named = '"order":{"channel":' .. quoted(channel) .. ',"id":'
  group.head, group.state = state .. ' ', state
  group.head_end = ' create ' .. group.backend .. ' 0 0 0 0 0 ' .. now .. ' ' .. now .. (waits and ' w' or ' -')
  group.timeline = now .. ' accepted ' .. state .. '\n'
  group.told = ',"item":"create","state":"' .. state .. '","backend":' .. quoted(group.backend) .. ',"version":'
  group.answer = { 'accepted', state }
end

-- Returns the parts of a hold of just what *wish* wants, nil where none is alive, or false where it is of another kind.
local function read_usual_hold(keys, id, wish)
  local packed = id ~= '' and redis.call('HGET', keys.hold, id)
  if not packed or string.sub(packed, 1, 5) ~= 'held\029' then
    return nil
  end
  local began, channel, customer, items = string.match(packed, LIVE)
  return items == wish.bare and { id = id, began = began, channel = channel, customer = customer }
end

local function sell_usual_hold(keys, hold, wish, member, named)
  local moves = shift_wish(wish, 'unheld', -1, 0)
  redis.call(
    'HSET', keys.hold, hold.id,
    'sold\029' .. hold.began .. now .. '\029' .. hold.channel .. hold.customer .. member .. '\029\029\029\029'
  )
  take_out(keys.hold_due, hold.id)
  file(keys.hold_end, whole(now_ms + TOMBSTONE), hold.id)
  announce(
    keys.journal, 'hold.sold',
    '"hold":' .. quoted_id(hold.id) .. ',"channel":' .. quoted(hold.channel) .. ',' .. named .. ',"moves":[' .. moves .. ']'
  )
end

local record = { 'HSET', '', 's', '', 'i', '', 'o', '', 't' }

local function write_usual_record(group, key, entry, wish, hold)
  record[2], record[4] = key, group.head .. entry.version .. ' ' .. entry.digest .. group.head_end
  record[6], record[8], record[10] = wish.taken, entry.content, group.timeline
  local size = 10
  if entry.raw ~= '' then
    record[11], record[12], size = 'b', entry.raw, 12
  end
  if hold then
    record[size + 1], record[size + 2], size = 'h', hold.id, size + 2
  end
  redis.call(unpack(record, 1, size))
end

-- Returns the reply, or nil where the order is not of this kind: then nothing was written.
local function accept_usual(keys, group, key, member, entry)
  -- Read.
  local wish = group.index and usual_wish_of(keys, group.terms, entry.items)
  if not wish or #entry.version > 15 or string.byte(entry.version) == 48 or redis.call('HGET', key, 's') then
    return nil
  end
  local hold = read_usual_hold(keys, entry.hold, wish)

  -- Refuse.
  if hold == false or not hold and not is_free(wish) then
    return nil
  end

  -- Write.
  local named = group.named .. quoted_id(string.sub(member, group.id_from)) .. '}'
  if hold then
    sell_usual_hold(keys, hold, wish, member, named)
  end
  local moves = shift_wish(wish, 'sold', 0, 1)
  write_usual_record(group, key, entry, wish, hold)
  file(group.index, now, member)
  announce(keys.journal, 'order.accepted', named .. group.told .. entry.version .. ',"moves":[' .. moves .. ']')
  return group.answer
end
