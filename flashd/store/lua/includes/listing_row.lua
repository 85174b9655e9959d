-- What a channel shows of one SKU: a row of the HASH exp:<channel>, field SKU, value "backed exposed figure state mode
-- was to key began written later seen location" ('-' for an empty key). flashd/domain/listing.py is the specification.
-- The units that back a row are those of its SKU, or of each part of its kit, at its location. Needs integer.lua.
local ROW = '^([01]) (%d+) (%-?%d+) (%S+) (%S+) (%-?%d+) (%d+) (%S+) (%d+) (%d+) (%-?%d+) (%d+) (.*)$'

local function unpack_listing(sku, packed)
  local backed, exposed, figure, state, mode, was, to, key, began, written, later, seen, location = string.match(packed, ROW)
  return {
    sku = sku, backed = backed == '1', exposed = tonumber(exposed), figure = tonumber(figure), state = state, mode = mode,
    was = tonumber(was), to = tonumber(to), key = key ~= '-' and key or '', began = tonumber(began),
    written = tonumber(written), later = tonumber(later), seen = tonumber(seen), location = location,
  }
end

-- Returns the row as a table, or nil where the channel has none of this SKU.
local function read_listing(shelf, sku)
  local packed = redis.call('HGET', shelf, sku)
  return packed and unpack_listing(sku, packed) or nil
end

local function pack_listing(row)
  return table.concat({
    row.backed and '1' or '0', whole(row.exposed), whole(row.figure), row.state, row.mode, whole(row.was), whole(row.to),
    row.key ~= '' and row.key or '-', whole(row.began), whole(row.written), whole(row.later), whole(row.seen), row.location,
  }, ' ')
end

local function write_listing(shelf, row)
  redis.call('HSET', shelf, row.sku, pack_listing(row))
end

-- An order of *units* placed at *placed_ms* (the platform's clock; 0: not told) is seen. Returns how many of them were
-- exposed: what backs those is the caller's to move from exposed to sold.
local function sell_from_listing(row, units, placed_ms)
  local from = math.min(units, row.exposed)
  local after = row.state == 'settling' and placed_ms > row.written
  row.exposed, row.seen = row.exposed - from, row.seen + units
  if after then
    row.later = row.later + units
  end
  if row.figure > 0 and (after or row.state ~= 'settling') then
    row.figure = math.max(0, row.figure - units)
  end
  return from
end
