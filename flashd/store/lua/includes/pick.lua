-- Where units are taken from free stock, by a channel's terms. flashd/domain/picking.py is the specification.
-- Needs terms.lua, stock.lua, kit.lua.
local function is_known(stock, sku, terms)
  for _, location in ipairs(terms.locations) do
    if level_of(stock, sku, location) then
      return true
    end
  end
  return false
end

local function free_at(stock, sku, location)
  local level = level_of(stock, sku, location)
  return level and free_of(level) or 0
end

-- Returns the location that covers most of *wants*, the first of equals, how much, and how much of it is known at all.
local function best_location(stock, wants, terms)
  local best, most, known = terms.locations[1], -1, 0
  for _, sku in ipairs(wants.order) do
    known = known + (is_known(stock, sku, terms) and math.max(0, wants.units[sku]) or 0)
  end
  for _, location in ipairs(terms.locations) do
    local covered = 0
    for _, sku in ipairs(wants.order) do
      covered = covered + math.min(math.max(0, wants.units[sku]), free_at(stock, sku, location))
    end
    if covered > most then
      best, most = location, covered
    end
  end
  return best, most, known
end

-- Returns from where as much of *wants* as is free is taken ({sku, location, units}), and whether that is all.
local function pick(stock, wants, terms)
  local best, most, known = best_location(stock, wants, terms)
  local places, parcels, picked = { best }, {}, 0
  if terms.split and most < known then
    places = terms.locations
  end
  for _, sku in ipairs(wants.order) do
    local left = wants.units[sku]
    for _, location in ipairs(places) do
      local units = math.min(left, free_at(stock, sku, location))
      if units > 0 then
        parcels[#parcels + 1] = { sku = sku, location = location, units = units }
        left, picked = left - units, picked + units
      end
    end
  end
  return parcels, picked == known
end
