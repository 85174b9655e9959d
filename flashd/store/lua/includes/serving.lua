-- Who waits for a SKU gets what came, first come, first served; each waits at the location that its items name.
-- Needs decide.lua, stock.lua, owing.lua, transition.lua.

-- The channel's doubt within a reason that explain wrote: what is short is no doubt of its own.
local function doubt_of(reason)
  local from = string.find(reason, 'short: %d+ of ')
  if not from then
    return reason
  end
  local before = string.gsub(string.sub(reason, 1, from - 1), '; $', '')
  local unknown = string.match(reason, 'unknown SKU: .*$', from)
  return before .. (before ~= '' and unknown and '; ' or '') .. (unknown or '')
end

local function missing_of(items)
  local short = {}
  for _, item in ipairs(items) do
    local missing = item.quantity - item.taken - item.counted
    if missing > 0 then
      short[#short + 1] = item.sku
      short[#short + 1] = whole(missing)
    end
  end
  return short
end

-- Says whether *records* are the first who wait for the SKU, in their order.
local function is_row(owing, sku, location, records)
  local from = field_of(sku, location)
  local row = redis.call('ZRANGEBYLEX', owing, '[' .. from .. '\031', '(' .. from .. '\032', 'LIMIT', 0, #records)
  for index, key in ipairs(records) do
    if not row[index] or string.sub(row[index], #from + 18) ~= member_of(key) then
      return false
    end
  end
  return true
end

-- Takes up to *most* of what an item misses, into sold.
local function take_missing(level, item, most, moves)
  local got = math.max(0, math.min(most, item.quantity - item.taken - item.counted))
  if got > 0 then
    moves[#moves + 1] = shift(level, 0, 0, got, 0, 0)
    item.taken = item.taken + got
  end
end

-- Gives units of *level* to one who waits, but for those *kept* for who came before and waits for a human first: a shortfall
-- with a doubt. Returns whether the order is complete, and the units kept by now.
local function serve_one(keys, level, key, kept)
  local head, items, moves = read_head(key), read_items(redis.call('HGET', key, 'i')), {}
  local doubt = doubt_of(redis.call('HGET', key, 'x') or '')
  local decides = head.state == 'shortfall' and doubt ~= ''
  for _, item in ipairs(items) do
    if item.sku == level.sku and item.location == level.location then
      if decides then
        kept = kept + item.quantity - item.taken - item.counted
      else
        take_missing(level, item, level.on_hand - level.held - level.sold - level.safety - level.exposed - kept, moves)
      end
    end
  end
  if #moves == 0 then
    return false, kept
  end
  write_items(key, items)
  local short = missing_of(items)
  local state = place(head, short, doubt)
  enter(keys, key, head, state, explain(doubt, short, {}), moves, state == 'queued' and 'order.requeued' or nil)
  return not CLAIMS[state], kept
end
