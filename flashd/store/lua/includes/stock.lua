-- Counters of one SKU and location, packed; every change of a call is collected and written once, at its end.
-- Needs integer.lua, clock.lua, journal.lua. Read with level_of, change with shift, write with write_levels.
local levels, touched = {}, {}

local function field_of(sku, location)
  return sku .. '\031' .. location
end

-- What nobody was promised; below zero is a deficit. What paid orders lack is theirs before anything becomes free.
local function spare_of(level)
  return level.on_hand - level.held - level.sold - level.safety - level.exposed - level.owed
end

-- Returns the level, or nil where the SKU is unknown at that location.
local function level_of(stock, sku, location)
  local field = field_of(sku, location)
  local level = levels[field]
  if level == nil then
    local packed = redis.call('HGET', stock, field)
    if not packed then
      levels[field] = false
      return nil
    end
    local on_hand, held, sold, exposed, safety, seq, owed =
      string.match(packed, '^(%-?%d+) (%d+) (%d+) (%d+) (%d+) (%d+) ?(%d*)$')
    level = {
      sku = sku, location = location, on_hand = tonumber(on_hand), held = tonumber(held), sold = tonumber(sold),
      exposed = tonumber(exposed), safety = tonumber(safety), seq = tonumber(seq), owed = tonumber(owed) or 0,
    }
    level.was = spare_of(level)
    levels[field] = level
  end
  return level or nil
end

-- A level that the next write_levels creates.
local function new_level(sku, location)
  local level = {
    sku = sku, location = location, on_hand = 0, held = 0, sold = 0, exposed = 0, safety = 0, seq = 0, owed = 0, was = 0,
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
  return '[' .. quoted(level.sku) .. ',' .. quoted(level.location) .. ',' .. whole(on_hand) .. ',' .. whole(held) .. ','
    .. whole(sold) .. ',' .. whole(exposed) .. ',' .. whole(safety) .. ']'
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

-- Remembers in the set *dirty*, once a SKU, that channels may have to show another figure; it keeps since when.
local function mark_dirty(dirty)
  local members = {}
  for _, level in ipairs(touched) do
    if not members[level.sku] then
      members[level.sku] = true
      members[#members + 1] = whole(now_ms)
      members[#members + 1] = level.sku
    end
    if #members >= 1000 then
      redis.call('ZADD', dirty, 'NX', unpack(members))
      members = {}
    end
  end
  if #members > 0 then
    redis.call('ZADD', dirty, 'NX', unpack(members))
  end
end

local function pack_level(level)
  return whole(level.on_hand) .. ' ' .. whole(level.held) .. ' ' .. whole(level.sold) .. ' ' .. whole(level.exposed) .. ' '
    .. whole(level.safety) .. ' ' .. whole(level.seq) .. (level.owed > 0 and ' ' .. whole(level.owed) or '')
end

-- Writes every touched level once, a thousand values a command.
local function keep_levels(stock)
  local values, size = {}, 0
  for _, level in ipairs(touched) do
    values[size + 1], values[size + 2], size = field_of(level.sku, level.location), pack_level(level), size + 2
    if size == 1000 then
      redis.call('HSET', stock, unpack(values))
      values, size = {}, 0
    end
  end
  if size > 0 then
    redis.call('HSET', stock, unpack(values))
  end
end

-- Says what every touched level is now; the crossing of zero is its own kind.
local function write_levels(stock, journal, dirty)
  mark_dirty(dirty)
  keep_levels(stock)
  for _, level in ipairs(touched) do
    local is = spare_of(level)
    local kind = 'stock.changed'
    if is <= 0 and level.was > 0 then
      kind = 'stock.sold_out'
    elseif is > 0 and level.was <= 0 then
      kind = 'stock.came_back'
    end
    announce(
      journal, kind,
      '"sku":' .. quoted(level.sku) .. ',"location":' .. quoted(level.location) .. ',"on_hand":' .. whole(level.on_hand)
        .. ',"held":' .. whole(level.held) .. ',"sold":' .. whole(level.sold) .. ',"exposed":' .. whole(level.exposed)
        .. ',"safety":' .. whole(level.safety) .. ',"seq":' .. whole(level.seq) .. ',"free":' .. whole(math.max(0, is))
    )
  end
end
