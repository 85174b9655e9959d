-- What becomes of a channel's rows (listing_row.lua) and of the stock that backs them. flashd/domain/listing.py is the specification.
-- Needs listing_row.lua, stock.lua.
-- The platform put *units* on sale again by itself; what backs *risen* of them is the caller's to move to exposed.
local function restock_listing(row, units, risen)
  row.exposed, row.later = row.exposed + risen, row.later - units
  if row.figure >= 0 then
    row.figure = row.figure + units
  end
end

-- An order of *units* is first seen when it was cancelled and restocked already: sold unseen, back unseen.
local function unsell_from_listing(row, units)
  row.later = row.later - units
end

-- How many of what the row shows could be backed by free stock; *parts* are those of its kit, or nil.
local function free_for_listing(stock, row, parts)
  local least = nil
  for _, part in ipairs(parts or { { sku = row.sku, quantity = 1 } }) do
    local level = level_of(stock, part.sku, row.location)
    local units = level and math.floor(free_of(level) / part.quantity) or 0
    least = math.min(least or units, units)
  end
  return least or 0
end

-- Moves what backs *units* of the row between free stock and exposed (negative: back), adding to *moves*.
local function back_listing(stock, row, parts, units, moves)
  for _, part in ipairs(units ~= 0 and (parts or { { sku = row.sku, quantity = 1 } }) or {}) do
    local level = level_of(stock, part.sku, row.location)
    moves[#moves + 1] = level and shift(level, 0, 0, 0, units * part.quantity, 0)
  end
end
