-- What one count does to one delivered order and to what followed it: its units leave sold, once, or come back. On hand goes
-- with them, so nothing becomes free by it. flashd/domain/count.py is the specification.
-- Needs record.lua, stock.lua, order_event.lua, countable.lua.

-- Moves units of one record at the place of count *c*; returns how many left sold (below zero: came back), and what is there now.
local function net_record(key, c, contained)
  local units, taken, counted = 0, 0, 0
  local items = read_items(redis.call('HGET', key, 'i'))
  for _, item in ipairs(items) do
    if item.sku == c.sku and item.location == c.location then
      local moved = contained and item.taken or (c.kind == 'physical' and -item.counted or 0)
      item.taken, item.counted = item.taken - moved, item.counted + moved
      units, taken, counted = units + moved, taken + item.taken, counted + item.counted
    end
  end
  if units ~= 0 then
    redis.call('HSET', key, 'i', pack_items(items))
  end
  return units, taken, counted
end

-- *family* holds the keys of the order, its cancel and its amend.
local function net_family(journal, countable, c, level, family)
  local order, head = family[1], read_head(family[1])
  local member = member_of(order)
  if not head then -- it was purged
    file_countable(countable, nil, c.sku, c.location, member)
    return 0
  end
  local shipped = tonumber(redis.call('HGET', order, 'p') or 0)
  local at = c.kind == 'available' and tonumber(redis.call('HGET', order, 'd') or 0) or shipped
  local contained = head.state == 'delivered' and at > 0 and at < c.horizon
  local units, taken, counted = 0, 0, 0
  for _, key in ipairs(family) do
    local some, here, gone = net_record(key, c, contained)
    units, taken, counted = units + some, taken + here, counted + gone
  end
  local class = nil
  if taken > 0 then
    class = shipped > 0 and 's' or 'u'
  elseif counted > 0 and not (shipped > 0 and shipped < c.horizon) then
    class = 'c'
  end
  file_countable(countable, class, c.sku, c.location, member)
  local moved = math.min(units, level.sold)
  if units ~= 0 then
    announce_order(journal, 'order.counted', member, head, nil, { shift(level, -moved, 0, -moved, 0, 0) })
  end
  return units
end
