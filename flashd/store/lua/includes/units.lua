-- The units of an order's items: taken from free stock into sold, and given back. Needs stock.lua.
-- Each changes counters and items in memory and adds its moves to *moves*.

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

-- Hands what *old* took over to *new*, which took nothing yet; what *new* does not want is given back.
local function carry_units(stock, old, new, moves)
  local wanted = {}
  for _, item in ipairs(new) do
    wanted[field_of(item.sku, item.location)] = item
  end
  for _, item in ipairs(old) do
    local heir = wanted[field_of(item.sku, item.location)]
    local counted = heir and math.min(item.counted, heir.quantity) or 0
    local kept = heir and math.min(item.taken, heir.quantity - counted) or 0
    if heir then
      heir.taken, heir.counted = kept, counted
    end
    if item.taken > kept then
      give_back(stock, item.sku, item.location, item.taken - kept, moves)
    end
  end
end

-- Takes what is still missing. Returns what is short ({sku, units, sku, units ...}) and the unknown SKUs.
local function take_units(stock, items, moves)
  local short, unknown = {}, {}
  for _, item in ipairs(items) do
    local missing = item.quantity - item.taken - item.counted
    local level = missing > 0 and level_of(stock, item.sku, item.location)
    if level then
      local got = math.min(missing, free_of(level))
      if got > 0 then
        moves[#moves + 1] = shift(level, 0, 0, got, 0, 0)
        item.taken = item.taken + got
      end
      if got < missing then
        short[#short + 1] = item.sku
        short[#short + 1] = whole(missing - got)
      end
    elseif missing > 0 then
      unknown[#unknown + 1] = item.sku
    end
  end
  return short, unknown
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
