-- The units of an order's items: kept, counted together, given back. Needs stock.lua, kit.lua.
-- flashd/domain/units.py is the specification. A pile is a list of items, one per SKU and location, also by field.

local function add_units(pile, sku, location, taken, counted)
  local field = field_of(sku, location)
  local there = pile[field]
  if not there then
    there = { sku = sku, location = location, quantity = 0, taken = 0, counted = 0 }
    pile[field], pile[#pile + 1] = there, there
  end
  there.quantity = there.quantity + taken + counted
  there.taken, there.counted = there.taken + taken, there.counted + counted
end

-- Adds the taken and the counted units of *items* to *pile*, and takes them from *items*.
local function collect(pile, items)
  for _, item in ipairs(items) do
    if item.taken + item.counted > 0 then
      add_units(pile, item.sku, item.location, item.taken, item.counted)
      item.taken, item.counted = 0, 0
    end
  end
end

-- The same wishes with nothing taken.
local function emptied(items)
  for _, item in ipairs(items) do
    item.taken, item.counted = 0, 0
  end
  return items
end

-- What of a pile is not empty, as items.
local function list_of(pile)
  local list = {}
  for _, item in ipairs(pile) do
    list[#list + 1] = item.quantity > 0 and item or nil
  end
  return list
end

-- Returns what *wants* keep of what *old* had, each where it is, counted units first; and what is left over.
local function keep_units(wants, old)
  local had, left, kept, rest = {}, {}, {}, {}
  for _, item in ipairs(old) do
    if item.taken + item.counted > 0 then
      add_units(had, item.sku, item.location, item.taken, item.counted)
    end
  end
  for _, item in ipairs(had) do
    local room = left[item.sku] or wants.units[item.sku] or 0
    item.kept = math.min(item.counted, room)
    left[item.sku] = room - item.kept
  end
  for _, item in ipairs(had) do
    local taken = math.min(item.taken, left[item.sku])
    left[item.sku] = left[item.sku] - taken
    if taken + item.kept > 0 then
      add_units(kept, item.sku, item.location, taken, item.kept)
    end
    if taken + item.kept < item.quantity then
      add_units(rest, item.sku, item.location, item.taken - taken, item.counted - item.kept)
    end
  end
  return kept, rest
end

-- The items of an order: its units where they are, what is missing with the first of them, or at *location*.
local function spread_units(wants, parcels, location)
  local items = {}
  for _, sku in ipairs(wants.order) do
    local first, missing = nil, wants.units[sku]
    for _, parcel in ipairs(parcels) do
      if parcel.sku == sku then
        first = first or parcel
        missing = missing - parcel.taken - parcel.counted
        items[#items + 1] = parcel
      end
    end
    if first then
      first.quantity = first.quantity + missing
    else
      items[#items + 1] = { sku = sku, location = location, quantity = missing, taken = 0, counted = 0 }
    end
  end
  return items
end

-- Gives *count* units of sold back. A recount may have taken them out of sold already: then they are not given twice.
local function give_back(stock, sku, location, count, moves)
  local level = level_of(stock, sku, location)
  local units = level and math.min(count, level.sold) or 0
  if units > 0 then
    moves[#moves + 1] = shift(level, 0, 0, -units, 0, 0)
  end
end

-- What was taken for the items of a cancelled order, or for the items of a follow-up that was delivered. What was counted
-- is forgotten: the next count contains it.
local function give_all(stock, items, moves)
  for _, item in ipairs(items) do
    if item.taken > 0 then
      give_back(stock, item.sku, item.location, item.taken, moves)
      item.taken = 0
    end
    item.counted = 0
  end
end

-- Hands what *items* took to *theirs*, without a change of counters.
local function hand_over(items, theirs)
  local known = {}
  for _, item in ipairs(theirs) do
    known[field_of(item.sku, item.location)] = item
  end
  for _, item in ipairs(items) do
    local heir = known[field_of(item.sku, item.location)]
    if heir then
      heir.taken, heir.counted = heir.taken + item.taken, heir.counted + item.counted
    elseif item.taken + item.counted > 0 then
      theirs[#theirs + 1] = {
        sku = item.sku, location = item.location, quantity = item.taken + item.counted, taken = item.taken, counted = item.counted,
      }
    end
    item.taken, item.counted = 0, 0
  end
end
