-- A hold as most are: of an id that is new, and granted from one place. It leads to what hold_one.lua leads to, and a test puts
-- both to the same wishes. Needs usual_wish.lua, threshold.lua, filing.lua, journal.lua, clock.lua.
local now = whole(now_ms)

-- What is alike in all holds of a group.
local function prepare_group(group)
  local expires = whole(now_ms + group.ttl)
  group.expires, group.answer = expires, now_ms + group.ttl
  group.text = '\029' .. now .. '\029' .. expires .. '\0290\029' .. group.channel .. '\029'
  group.told = ',"channel":' .. quoted(group.channel) .. ',"expires_ms":' .. expires
end

-- Whether thresholds keep so much of the lot's own place from sight that it must not be held; of all places together it may yet.
local function is_hidden(lot, packed)
  local thresholds = packed ~= '' and read_thresholds(packed) or {}
  for index, level in ipairs(lot.levels) do
    if shown(free_of(level), thresholds[index]) < lot.units[index] then
      return true
    end
  end
  return false
end

-- Returns the reply, or nil where the hold is not of this kind: then nothing was written.
local function hold_usual(keys, group, request)
  -- Read.
  local _, id, digest, customer, items, thresholds = unpack(request)
  local wish = wish_of(keys, items)
  local lot = wish and free_lot(keys, wish, group.terms)

  -- Refuse.
  if not lot or redis.call('HGET', keys.hold, id) or thresholds ~= '' and is_hidden(lot, thresholds) then
    return nil
  end
  local counts = wish.ruled and sales.count(keys, wish, group.channel, customer, now_ms)
  if wish.ruled and not counts then
    return nil
  end

  -- Write.
  local uses, told = '', ''
  if counts then
    uses, told = sales.count_in(counts)
  end
  local moves = shift_lot(lot, 'held', 1, 0, 0)
  redis.call(
    'HSET', keys.hold, id,
    'held\029' .. digest .. group.text .. customer .. '\029\029\029' .. items_text(lot, false) .. '\029\029' .. uses
  )
  file(keys.hold_due, group.expires, id)
  announce(keys.journal, 'hold.held', '"hold":' .. cjson.encode(id) .. group.told .. told .. moves)
  return group.answer
end

-- What was gathered is written before anything else reads it, and at the end.
local function write_gathered(keys)
  write_filed()
  if sales then
    sales.write(keys)
  end
end
