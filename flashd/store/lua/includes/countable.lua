-- Delivered orders whose units a count may lack, in the ZSET countable (all scores 0): class, then
-- "<sku> 0x1f <location> 0x1f <order>". Class u: units in sold; s: units in sold, and shipped; c: counted by an available
-- count, so that a physical one may have to put them back. The index is a hint for peeking; records decide.
-- Needs clock.lua, record.lua, stock.lua.
local CLASSES = { 'u', 's', 'c' }

local function file_countable(countable, class, sku, location, member)
  local tail = field_of(sku, location) .. '\031' .. member
  for _, other in ipairs(CLASSES) do
    if other == class then
      redis.call('ZADD', countable, 0, other .. tail)
    else
      redis.call('ZREM', countable, other .. tail)
    end
  end
end

-- The backend has all of the order, as it is now. *head* is the item's that was delivered: the order or its amend. Gathered:
-- write_filed writes it.
local function note_delivered(countable, head, order)
  if head.kind == 'cancel' or not read_field(order, 's') then
    return
  end
  local is_first = not read_field(order, 'd') -- then it stands in no class yet
  if is_first then
    write_field(order, 'd', whole(now_ms))
  end
  local class = read_field(order, 'p') and 's' or 'u'
  for _, item in ipairs(read_items(read_field(order, 'i'))) do
    if item.taken > 0 then
      local tail = field_of(item.sku, item.location) .. '\031' .. member_of(order)
      for _, other in ipairs(CLASSES) do
        if other == class then
          file(countable, '0', other .. tail)
        elseif not is_first then
          take_out(countable, other .. tail)
        end
      end
    end
  end
end
