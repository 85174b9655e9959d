-- Writing a figure to a platform, and what may be concluded from how that ended. flashd/domain/exposure.py is the
-- specification; it returns rows, these change the one that they are given. Needs listing.lua, kit.lua.
local OPEN_WRITE = { writing = true, in_doubt = true }

local function kept_of(row)
  return row.mode == 'compare' and math.max(0, row.was) or 0
end

local function new_listing(sku, location)
  return {
    sku = sku, backed = false, exposed = 0, figure = -1, state = 'idle', mode = 'compare', was = -1, to = 0, key = '', began = 0,
    written = 0, later = 0, seen = 0, location = location,
  }
end

-- Returns a code and how many units; the row is changed where the code is begun or unchanged, and only there.
local function begin_listing(row, wish, free)
  if row.key == wish.key then -- a repeat, or a key that was used up
    return OPEN_WRITE[row.state] and 'repeat' or 'busy', row.to
  elseif OPEN_WRITE[row.state] or (row.state == 'settling' and wish.backed and wish.units > 0) then
    return 'busy', row.to
  end
  local was_backed, kept = row.backed, 0
  local was = row.figure
  if wish.mode == 'compare' then
    was, kept = wish.was, math.max(0, wish.was)
  end
  local lowers = wish.units == 0 or wish.units < kept -- an absolute write to zero alone: units count twice until it settles
  if wish.backed and not was_backed and row.exposed > free and not lowers then
    return 'busy', row.to
  elseif (was < 0 and wish.mode == 'compare') or (wish.backed and wish.units > 0 and row.figure < 0) then
    return 'unknown', wish.units
  end
  local units = wish.units
  row.backed = wish.backed and (was_backed or row.exposed <= free) -- else it is lowered first, unbacked as it is
  if row.backed then
    units = math.min(units, kept + free - (was_backed and 0 or row.exposed))
  end
  if units == was then
    return 'unchanged', units
  end
  row.exposed = row.exposed + math.max(0, units - kept)
  row.state, row.mode, row.was, row.to, row.key = 'writing', wish.mode, was, units, wish.key
  row.began, row.later, row.seen = now_ms, 0, 0
  return 'begun', units
end

local function end_listing(row, ended)
  if ended.key ~= row.key or not OPEN_WRITE[row.state] then
    return
  end
  local kept = kept_of(row)
  if ended.outcome == 'refused' then
    row.exposed = math.max(0, row.exposed - math.max(0, row.to - kept))
    row.state, row.figure = 'idle', ended.figure or row.figure
  elseif ended.outcome == 'unknown' or (row.mode == 'absolute' and ended.at <= 0) then
    row.state = 'in_doubt'
  elseif row.mode == 'compare' and row.exposed + row.seen < kept + math.max(0, row.to - kept) then
    if ended.at <= 0 then -- the compare proved a figure that nobody granted: an edit; as after an absolute write
      row.state = 'in_doubt'
    else
      row.exposed = row.exposed + (row.backed and 0 or math.min(kept, row.to))
      row.state, row.figure, row.written = 'settling', row.to, ended.at
    end
  elseif row.mode == 'compare' then
    row.exposed = math.max(0, row.exposed - math.max(0, kept - row.to))
    row.state, row.figure = 'idle', row.to
  else
    row.state, row.figure, row.written = 'settling', row.to, ended.at
  end
end

-- *known* is the row as it was before the platform was asked.
local function observe_listing(row, known, figure, at)
  local same = known.state == row.state and known.key == row.key and known.began == row.began and known.written == row.written
  if not same or (row.state ~= 'idle' and row.state ~= 'in_doubt') or at <= 0 then
    return
  end
  row.state, row.was, row.to, row.figure, row.written = 'settling', known.figure, figure, figure, at
  row.later, row.seen = row.later - known.later, row.seen - known.seen
end

-- Returns nil where it is not settling or not all was seen yet, else whether no sale explains what the platform shows.
local function settle_listing(row, seen)
  if row.state ~= 'settling' or row.written >= seen then
    return nil
  end
  local most, least = math.max(0, row.to - row.later), row.to - row.seen
  local first_look, exposed = row.was < 0, row.exposed
  local drifted = not first_look and exposed < least
  row.exposed = (first_look or drifted) and most or math.min(exposed, most)
  row.state = 'idle'
  return drifted and row.exposed > exposed
end

-- What backed a row before and what backs it now: the difference moves between free stock and exposed. Adds a line
-- [SKU, exposed before, exposed now] to *lines*, whether it is backed or not.
local function settle_backing(stock, row, parts, was_backed, was_exposed, moves, lines)
  local units = (row.backed and row.exposed or 0) - (was_backed and was_exposed or 0)
  for _, part in ipairs(units ~= 0 and (parts or { { sku = row.sku } }) or {}) do
    if not level_of(stock, part.sku, row.location) then -- the platform sells what was never counted here: a deficit
      new_level(part.sku, row.location)
    end
  end
  back_listing(stock, row, parts, units, moves)
  if row.exposed ~= was_exposed or units ~= 0 then
    lines[#lines + 1] = '[' .. quoted(row.sku) .. ',' .. whole(was_exposed) .. ',' .. whole(row.exposed) .. ']'
  end
end

local function announce_exposure(journal, kind, channel, moves, lines)
  if #lines > 0 then
    announce(
      journal, kind,
      '"channel":' .. quoted(channel) .. ',"exposures":[' .. table.concat(lines, ',') .. ']'
        .. (#moves > 0 and ',"moves":[' .. table.concat(moves, ',') .. ']' or '')
    )
  end
end

-- Remembers in *index* which rows settle, by the instant up to which orders must be seen.
local function index_settling(index, row)
  if row.state == 'settling' then
    redis.call('ZADD', index, whole(row.written), row.sku)
  else
    redis.call('ZREM', index, row.sku)
  end
end
