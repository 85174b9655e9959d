-- What becomes of stock when what an order wants changes. flashd/domain/draw.py is the specification; *d* is its Demand:
-- wants (a bag), terms, old, held, sold, returned, blocked, placed, travels, and shelf (the channel's listings) where it
-- has any. Needs units.lua, pick.lua, listing.lua.

-- How many units of *sku* may still be taken.
local function room_for(d, sku)
  return math.max(0, (d.missing.units[sku] or 0) - (d.blocked[sku] or 0))
end

local function get(d, sku, location, units)
  if units > 0 then
    add_units(d.parcels, sku, location, units, 0)
    d.missing.units[sku] = d.missing.units[sku] - units
  end
end

-- What was granted to the channel.
local function sell_listed(d, moves)
  for _, bundle in ipairs(d.sold) do
    local row = read_listing(d.shelf, bundle.sku)
    if row then
      local exposed = sell_from_listing(row, bundle.quantity, d.placed)
      for _, part in ipairs(row.backed and bundle.parts or {}) do
        local level = level_of(d.stock, part.sku, row.location)
        if level and exposed > 0 then
          local units = math.min(exposed * part.quantity, room_for(d, part.sku))
          moves[#moves + 1] = shift(level, 0, 0, units, -exposed * part.quantity, 0)
          get(d, part.sku, row.location, units)
        end
      end
      write_listing(d.shelf, row)
    end
  end
end

-- What was held, also where a recount left a deficit.
local function use_held(d, moves)
  for _, item in ipairs(d.held) do
    local units = math.min(item.quantity, room_for(d, item.sku))
    if units > 0 then
      moves[#moves + 1] = shift(level_of(d.stock, item.sku, item.location), 0, 0, units, 0, 0)
      get(d, item.sku, item.location, units)
    end
  end
end

local function left_over(d, level)
  local spare = d.spare[field_of(level.sku, level.location)]
  return spare and math.min(spare.taken, level.sold) or 0
end

-- What the platform put on sale again; where that is backed, as far as units are there.
local function restock_listed(d, moves)
  for _, bundle in ipairs(d.returned) do
    local row = read_listing(d.shelf, bundle.sku)
    if row then
      local risen = bundle.quantity
      for _, part in ipairs(row.backed and bundle.parts or {}) do
        local level = level_of(d.stock, part.sku, row.location)
        risen = math.min(risen, level and math.floor((free_of(level) + left_over(d, level)) / part.quantity) or 0)
      end
      for _, part in ipairs(row.backed and risen > 0 and bundle.parts or {}) do
        local level = level_of(d.stock, part.sku, row.location)
        local own = math.min(risen * part.quantity, left_over(d, level))
        if own > 0 then
          local spare = d.spare[field_of(part.sku, row.location)]
          spare.taken, spare.quantity = spare.taken - own, spare.quantity - own
        end
        moves[#moves + 1] = shift(level, 0, 0, -own, risen * part.quantity, 0)
      end
      restock_listing(row, bundle.quantity, risen)
      write_listing(d.shelf, row)
    end
  end
end

-- Whether all that *d* wants is to come from free stock at one location: most orders of most pools.
local function is_plain(d)
  return #d.terms.locations == 1 and #d.old + #d.held + #d.sold + #d.returned == 0 and not next(d.blocked)
end

-- The same as draw, where it is that simple.
local function draw_plain(d, moves)
  local location, items, short, unknown = d.terms.locations[1], {}, {}, {}
  for index, sku in ipairs(d.wants.order) do
    local units, level = d.wants.units[sku], level_of(d.stock, sku, location)
    local got = level and math.min(units, free_of(level)) or 0
    if got > 0 then
      moves[#moves + 1] = shift(level, 0, 0, got, 0, 0)
    end
    if not level then
      unknown[#unknown + 1] = sku
    elseif got < units then
      short[#short + 1] = sku
      short[#short + 1] = whole(units - got)
    end
    items[index] = { sku = sku, location = location, quantity = units, taken = got, counted = 0 }
  end
  return items, short, unknown, {}
end

-- Returns the items, what is short ({sku, units, sku, units ...}), the unknown SKUs, and what is left over and travels.
local function draw(d, moves)
  if is_plain(d) then
    return draw_plain(d, moves)
  end
  d.parcels, d.spare = keep_units(d.wants, d.old)
  d.missing = new_bag()
  for _, sku in ipairs(d.wants.order) do
    put(d.missing, sku, d.wants.units[sku])
  end
  for _, item in ipairs(d.parcels) do
    d.missing.units[item.sku] = d.missing.units[item.sku] - item.quantity
  end
  sell_listed(d, moves)
  use_held(d, moves)
  restock_listed(d, moves)
  if not d.travels then
    give_all(d.stock, d.spare, moves)
    d.spare = {}
  end
  local rest, short, unknown = new_bag(), {}, {}
  for _, sku in ipairs(d.missing.order) do
    put(rest, sku, room_for(d, sku))
  end
  for _, parcel in ipairs(pick(d.stock, rest, d.terms)) do
    moves[#moves + 1] = shift(level_of(d.stock, parcel.sku, parcel.location), 0, 0, parcel.units, 0, 0)
    get(d, parcel.sku, parcel.location, parcel.units)
  end
  for _, sku in ipairs(d.missing.order) do
    local units = d.missing.units[sku]
    if units > 0 and is_known(d.stock, sku, d.terms) then
      short[#short + 1] = sku
      short[#short + 1] = whole(units)
    elseif units > 0 then
      unknown[#unknown + 1] = sku
    end
  end
  return spread_units(d.wants, d.parcels, d.terms.locations[1]), short, unknown, d.spare
end

-- Says whether nothing would be short: asked before overdue holds are swept for it.
local function is_supplied(d)
  if is_plain(d) then
    for _, sku in ipairs(d.wants.order) do
      local level = level_of(d.stock, sku, d.terms.locations[1])
      if level and d.wants.units[sku] > free_of(level) then
        return false
      end
    end
    return true
  end
  local rest = new_bag()
  for _, sku in ipairs(d.wants.order) do
    put(rest, sku, d.wants.units[sku] - (d.blocked[sku] or 0))
  end
  local function less(sku, units)
    if rest.units[sku] then
      rest.units[sku] = rest.units[sku] - units
    end
  end
  for _, item in ipairs(d.old) do
    less(item.sku, item.taken + item.counted)
  end
  for _, item in ipairs(d.held) do
    less(item.sku, item.quantity)
  end
  for _, bundle in ipairs(d.sold) do
    local row = read_listing(d.shelf, bundle.sku)
    for _, part in ipairs(row and row.backed and bundle.parts or {}) do
      less(part.sku, math.min(bundle.quantity, row.exposed) * part.quantity)
    end
  end
  local _, whole_of_it = pick(d.stock, rest, d.terms)
  return whole_of_it
end
