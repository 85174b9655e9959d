-- A hold as most are: of an id that is new, and granted from one place. It leads to what hold_one.lua leads to, and a test puts
-- both to the same wishes. Needs usual_wish.lua, threshold.lua, filing.lua, journal.lua, clock.lua.
local now = whole(now_ms)

-- What is alike in all holds of a group.
local function prepare_group(group)
  local expires = whole(now_ms + group.ttl)
  group.expires, group.answer = expires, { 'held', 'held', expires }
  group.text = '\029' .. now .. '\029' .. expires .. '\0290\029' .. group.channel .. '\029'
  group.told = ',"channel":' .. quoted(group.channel) .. ',"expires_ms":' .. expires .. ',"moves":['
end

local function is_shown(wish, packed)
  if packed ~= '' then
    local thresholds = read_thresholds(packed)
    for index, level in ipairs(wish.levels) do
      if shown(free_of(level), thresholds[index]) < wish.units[index] then
        return false
      end
    end
  end
  return is_free(wish)
end

-- Returns the reply, or nil where the hold is not of this kind: then nothing was written.
local function hold_usual(keys, group, request)
  -- Read.
  local wish = usual_wish_of(keys, group.terms, request.items)

  -- Refuse.
  if not wish or redis.call('HGET', keys.hold, request.id) or not is_shown(wish, request.thresholds) then
    return nil
  end

  -- Write.
  local moves = shift_wish(wish, 'held', 1, 0)
  redis.call(
    'HSET', keys.hold, request.id,
    'held\029' .. request.digest .. group.text .. request.customer .. '\029\029\029' .. wish.bare .. '\029\029'
  )
  file(keys.hold_due, group.expires, request.id)
  announce(keys.journal, 'hold.held', '"hold":' .. quoted_id(request.id) .. group.told .. moves .. ']')
  return group.answer
end
