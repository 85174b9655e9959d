-- An order of a channel that shows figures, where its rows leave no doubt from where the units come: draw.lua would take them
-- from the same. Rows are read once a call and written once, by write_rows. Needs usual_wish.lua, listing_row.lua.
local rows = {}

local function row_of(shelf, sku)
  local known = rows[shelf]
  if not known then
    known = {}
    rows[shelf] = known
  end
  if known[sku] == nil then
    known[sku] = read_listing(shelf, sku) or false
  end
  return known[sku]
end

local function has_place(terms, place)
  for _, location in ipairs(terms.locations) do
    if location == place then
      return true
    end
  end
  return false
end

-- Returns the lot, and whether it was granted to the channel and not free; nil where rows differ or show less than is wanted.
local function listed_lot(keys, shelf, terms, wish)
  local granted, place = 0, nil
  for index, sku in ipairs(wish.skus) do
    local row = row_of(shelf, sku)
    if row and row.backed and row.exposed > 0 then
      if row.exposed < wish.units[index] or (place and place ~= row.location) then
        return nil
      end
      granted, place = granted + 1, row.location
    end
  end
  if granted == 0 then
    return free_lot(keys, wish, terms), false
  elseif granted == #wish.skus and has_place(terms, place) then
    return lot_at(keys, wish, place), true
  end
  return nil
end

local function sell_listed_wish(shelf, wish, placed_ms)
  for index, sku in ipairs(wish.skus) do
    local row = row_of(shelf, sku)
    if row then
      sell_from_listing(row, wish.units[index], placed_ms)
      row.sold = true
    end
  end
end

local function write_rows()
  for shelf, known in pairs(rows) do
    for _, row in pairs(known) do
      if row and row.sold then
        write_listing(shelf, row)
      end
    end
  end
  rows = {}
end
