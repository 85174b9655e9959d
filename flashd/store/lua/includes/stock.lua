-- Counters of one SKU and location, packed; every change of a call is collected and written once, at its end.
-- Needs integer.lua, clock.lua, journal.lua. Read with level_of, change with shift, write with write_levels.
local levels, touched = {}, {} -- levels by location and SKU
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

local function levels_at(location)
  local here = levels[location]
  if not here then
    here = {}
    levels[location] = here
  end
  return here
end

local function unpack_level(sku, location, field, packed)
  local on_hand, held, sold, exposed, safety, seq, owed =
    string.match(packed, '^(%-?%d+) (%d+) (%d+) (%d+) (%d+) (%d+) ?(%d*)$')
  local level = {
    sku = sku, location = location, field = field, on_hand = counters[on_hand], held = counters[held], sold = counters[sold],
    exposed = counters[exposed], safety = counters[safety], seq = counters[seq], owed = owed ~= '' and counters[owed] or 0,
    was = 0, dirty = false, named = false,
  }
  level.was = spare_of(level)
  return level
end

-- Returns the level, or nil where the SKU is unknown at that location.
local function level_of(stock, sku, location)
  local here = levels_at(location)
  local level = here[sku]
  if level == nil then
    local field = field_of(sku, location)
    local packed = redis.call('HGET', stock, field)
    level = packed and unpack_level(sku, location, field, packed)
    here[sku] = level
  end
  return level or nil
end

-- A level that the next write_levels creates.
local function new_level(sku, location)
  local level = {
    sku = sku, location = location, field = field_of(sku, location), on_hand = 0, held = 0, sold = 0, exposed = 0, safety = 0,
    seq = 0, owed = 0, was = 0, dirty = false, named = false,
  }
  levels_at(location)[sku] = level
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

-- A level's SKU and location as JSON text, a comma behind each.
local function name_of(level)
  if not level.named then
    level.named = cjson.encode(level.sku) .. ',' .. quoted(level.location) .. ','
  end
  return level.named
end

-- A move as JSON text: [sku, location, on_hand, held, sold, exposed, safety].
local function move_text(level, on_hand, held, sold, exposed, safety)
  local text = whole_texts
  return '[' .. name_of(level) .. text[on_hand] .. ',' .. text[held] .. ',' .. text[sold] .. ',' .. text[exposed] .. ','
    .. text[safety] .. ']'
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

local function announce_crossing(journal, kind, level, free)
  announce(
    journal, kind,
    '"sku":' .. quoted(level.sku) .. ',"location":' .. quoted(level.location) .. ',"on_hand":' .. whole(level.on_hand)
      .. ',"held":' .. whole(level.held) .. ',"sold":' .. whole(level.sold) .. ',"exposed":' .. whole(level.exposed)
      .. ',"safety":' .. whole(level.safety) .. ',"seq":' .. whole(level.seq) .. ',"free":' .. whole(free)
  )
end

local function announce_changes(journal, changed)
  for from = 1, #changed, 100 do
    local listed = table.concat(changed, ',', from, math.min(from + 99, #changed))
    announce(journal, 'stock.changed', '"levels":[' .. listed .. ']')
  end
end

-- Writes every touched level once, remembers in the set *dirty* that channels may have to show another figure (it keeps since
-- when), and says what each level is now: many in one message, for a message of its own costs as much as all else of a level. The
-- crossing of zero is its own kind, a SKU a message.
local function write_levels(stock, journal, dirty)
  local text, now, changed = whole_texts, whole(now_ms), {}
  for from = 1, #touched, 500 do
    local marks, values, at = {}, {}, 0
    for index = from, math.min(from + 499, #touched) do
      local level = touched[index]
      local on_hand, held, sold = text[level.on_hand], text[level.held], text[level.sold]
      local exposed, safety, seq, is = text[level.exposed], text[level.safety], text[level.seq], spare_of(level)
      marks[at + 1], marks[at + 2] = now, level.sku
      values[at + 1] = level.field
      values[at + 2] = on_hand .. ' ' .. held .. ' ' .. sold .. ' ' .. exposed .. ' ' .. safety .. ' ' .. seq
        .. (level.owed > 0 and ' ' .. text[level.owed] or '')
      at = at + 2
      if is <= 0 and level.was > 0 then
        announce_crossing(journal, 'stock.sold_out', level, 0)
      elseif is > 0 and level.was <= 0 then
        announce_crossing(journal, 'stock.came_back', level, is)
      else -- the values that `stock.changed` lists
        changed[#changed + 1] = '[' .. name_of(level) .. on_hand .. ',' .. held .. ',' .. sold .. ',' .. exposed .. ',' .. safety
          .. ',' .. seq .. ',' .. text[is > 0 and is or 0] .. ']'
      end
    end
    redis.call('ZADD', dirty, 'NX', unpack(marks))
    redis.call('HSET', stock, unpack(values))
  end
  announce_changes(journal, changed)
end
