-- What a delivered follow-up brings back: its units are free again. But goods that were shipped are gone, from hand as well;
-- a count will say when they are back. Needs units.lua.
local function return_or_let_go(stock, order, items, moves)
  if redis.call('HEXISTS', order, 'p') == 1 then
    for _, item in ipairs(items) do
      local level = item.taken > 0 and level_of(stock, item.sku, item.location)
      local units = level and math.min(item.taken, level.sold) or 0
      if units > 0 then
        moves[#moves + 1] = shift(level, -units, 0, -units, 0, 0)
      end
      item.taken, item.counted = 0, 0
    end
  else
    give_all(stock, items, moves)
  end
end
