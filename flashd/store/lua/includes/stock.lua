-- Counters of one SKU and location, packed; every change of a call is collected and written once, at its end.
-- Needs integer.lua, clock.lua, journal.lua. Read with level_of, change with shift, write with write_levels.
local levels, touched = {}, {}
local counters = setmetatable({ ['0'] = 0 }, { -- numbers by their text: most counters are zero, or alike
  __index = function(known, text)
    local number = tonumber(text)
    known[text] = number
    return number
  end,
})

local function field_of(sku, location)
  return sku .. '\031' .. location
end

-- What nobody was promised; below zero is a deficit. What paid orders lack is theirs before anything becomes free.
local function spare_of(level)
  return level.on_hand - level.held - level.sold - level.safety - level.exposed - level.owed
end

local function unpack_level(sku, location, packed)
  local on_hand, held, sold, exposed, safety, seq, owed =
    string.match(packed, '^(%-?%d+) (%d+) (%d+) (%d+) (%d+) (%d+) ?(%d*)$')
  local level = {
    sku = sku, location = location, on_hand = counters[on_hand], held = counters[held], sold = counters[sold],
    exposed = counters[exposed], safety = counters[safety], seq = counters[seq], owed = owed ~= '' and counters[owed] or 0,
    was = 0, dirty = false,
  }
  level.was = spare_of(level)
  return level
end

-- Reads the levels of *skus*, each at the place of the same index, before level_of wants them: one command for many costs a
-- quarter of one for each.
local function fetch_levels(stock, skus, places)
  for from = 1, #skus, 1000 do
    local upto, fields = math.min(from + 999, #skus), {}
    for index = from, upto do
      fields[index - from + 1] = field_of(skus[index], places[index])
    end
    for index, packed in ipairs(redis.call('HMGET', stock, unpack(fields))) do
      local at = from + index - 1
      levels[fields[index]] = packed and unpack_level(skus[at], places[at], packed)
    end
  end
end

-- Returns the level, or nil where the SKU is unknown at that location.
local function level_of(stock, sku, location)
  local field = field_of(sku, location)
  local level = levels[field]
  if level == nil then
    local packed = redis.call('HGET', stock, field)
    level = packed and unpack_level(sku, location, packed)
    levels[field] = level
  end
  return level or nil
end

-- A level that the next write_levels creates.
local function new_level(sku, location)
  local level = {
    sku = sku, location = location, on_hand = 0, held = 0, sold = 0, exposed = 0, safety = 0, seq = 0, owed = 0, was = 0,
    dirty = false,
  }
  levels[field_of(sku, location)] = level
  return level
end

local function free_of(level)
  return math.max(0, spare_of(level))
end

-- Has the next write_levels write it.
local function touch(level)
  if not level.dirty then
    level.dirty = true
    touched[#touched + 1] = level
  end
end

-- A move as JSON text: [sku, location, on_hand, held, sold, exposed, safety].
local function move_text(level, on_hand, held, sold, exposed, safety)
  local text = whole_texts
  return '[' .. quoted(level.sku) .. ',' .. quoted(level.location) .. ',' .. text[on_hand] .. ',' .. text[held] .. ','
    .. text[sold] .. ',' .. text[exposed] .. ',' .. text[safety] .. ']'
end

-- Changes counters in memory and returns the move.
local function shift(level, on_hand, held, sold, exposed, safety)
  level.on_hand = level.on_hand + on_hand
  level.held = level.held + held
  level.sold = level.sold + sold
  level.exposed = level.exposed + exposed
  level.safety = level.safety + safety
  touch(level)
  return move_text(level, on_hand, held, sold, exposed, safety)
end

-- Remembers in the set *dirty* that channels may have to show another figure; it keeps since when.
local function mark_dirty(dirty)
  local members, now = {}, whole(now_ms)
  for index = 1, #touched do
    members[2 * index - 1], members[2 * index] = now, touched[index].sku
  end
  for from = 1, #members, 1000 do
    redis.call('ZADD', dirty, 'NX', unpack(members, from, math.min(from + 999, #members)))
  end
end

local function pack_level(level)
  local text = whole_texts
  return text[level.on_hand] .. ' ' .. text[level.held] .. ' ' .. text[level.sold] .. ' ' .. text[level.exposed] .. ' '
    .. text[level.safety] .. ' ' .. text[level.seq] .. (level.owed > 0 and ' ' .. text[level.owed] or '')
end

-- Writes every touched level once, a thousand values a command.
local function keep_levels(stock)
  local values = {}
  for index = 1, #touched do
    local level = touched[index]
    values[2 * index - 1], values[2 * index] = field_of(level.sku, level.location), pack_level(level)
  end
  for from = 1, #values, 1000 do
    redis.call('HSET', stock, unpack(values, from, math.min(from + 999, #values)))
  end
end

-- What a level is now, of which *free* is spare: the values that `stock.changed` lists.
local function level_text(level, free)
  local text = whole_texts
  return '[' .. quoted(level.sku) .. ',' .. quoted(level.location) .. ',' .. text[level.on_hand] .. ',' .. text[level.held] .. ','
    .. text[level.sold] .. ',' .. text[level.exposed] .. ',' .. text[level.safety] .. ',' .. text[level.seq] .. ',' .. text[free]
    .. ']'
end

local function announce_crossing(journal, kind, level, free)
  announce(
    journal, kind,
    '"sku":' .. quoted(level.sku) .. ',"location":' .. quoted(level.location) .. ',"on_hand":' .. whole(level.on_hand)
      .. ',"held":' .. whole(level.held) .. ',"sold":' .. whole(level.sold) .. ',"exposed":' .. whole(level.exposed)
      .. ',"safety":' .. whole(level.safety) .. ',"seq":' .. whole(level.seq) .. ',"free":' .. whole(free)
  )
end

-- Says what every touched level is now: many in one message, for a message of its own costs as much as all else of a level. The
-- crossing of zero is its own kind, a SKU a message.
local function write_levels(stock, journal, dirty)
  mark_dirty(dirty)
  keep_levels(stock)
  local changed = {}
  for index = 1, #touched do
    local level = touched[index]
    local is = spare_of(level)
    if is <= 0 and level.was > 0 then
      announce_crossing(journal, 'stock.sold_out', level, 0)
    elseif is > 0 and level.was <= 0 then
      announce_crossing(journal, 'stock.came_back', level, is)
    else
      changed[#changed + 1] = level_text(level, is > 0 and is or 0)
    end
  end
  for from = 1, #changed, 100 do
    local listed = table.concat(changed, ',', from, math.min(from + 99, #changed))
    announce(journal, 'stock.changed', '"levels":[' .. listed .. ']')
  end
end
