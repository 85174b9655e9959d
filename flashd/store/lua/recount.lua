-- recount -- Set on hand to what was counted, and take from sold what the counts lack: many counts in one call.
-- KEYS[1] stock HASH counters
-- KEYS[2] journal STREAM j
-- KEYS[3] dirty ZSET SKUs whose stock changed
-- KEYS[4] countable ZSET delivered orders whose units a count may lack
-- KEYS[5] counts HASH the last count of each SKU and location
-- KEYS[6] checkpoint HASH among it the units of purged orders
-- KEYS[7] locations SET every location of a level
-- KEYS[8..] candidates HASH for each its record, and those of its cancel and amend
-- ARGV[1] by whom
-- ARGV[2] safety of a SKU that was not known
-- ARGV[3..] counts for each: SKU, location, quantity, safety ('' leaves it), seq (0: none), kind ('' if told by hand without one),
--   as_of ms, horizon ms (surely before), lacks (units of sold, by hand), source, last (0: more candidates follow), candidates (how many)
-- RETURNS per count {code, on hand, held, sold, exposed, safety, seq, owed, orders, units}: `counted`, `more` (candidates were looked at,
--   nothing else), or `stale` (a later count is known; nothing changed)
-- KEEPS on hand = atp + held + sold + safety; each unit leaves sold once; what is free does not change before the last call
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include filing
-- @include stock
-- @include order_event
-- @include countable
-- @include netting

local by, fresh_safety = ARGV[1], integer(ARGV[2])
local OLD_MS = 30 * 86400000 -- what was purged was settled earlier

-- Units of orders that left the store leave sold, and on hand with them.
local function net_purged(c, level)
  local field = '\029' .. field_of(c.sku, c.location)
  local units = math.min(tonumber(redis.call('HGET', KEYS[6], field) or 0), level.sold)
  if c.kind == '' or c.horizon <= now_ms - OLD_MS or units == 0 then
    return
  end
  redis.call('HINCRBY', KEYS[6], field, whole(-units))
  announce(
    KEYS[2], 'stock.netted',
    '"sku":' .. quoted(c.sku) .. ',"location":' .. quoted(c.location) .. ',"moves":[' .. shift(level, -units, 0, -units, 0, 0) .. ']'
  )
end

local function set_level(c, level)
  local safety = c.safety or (c.fresh and fresh_safety) or level.safety
  local moved = shift(level, c.quantity - level.on_hand, 0, -math.min(c.lacks, level.sold), 0, safety - level.safety)
  level.seq = math.max(c.seq, level.seq)
  if c.kind ~= '' then
    redis.call('HSET', KEYS[5], field_of(c.sku, c.location), c.kind .. ' ' .. whole(c.as_of) .. ' ' .. c.source)
  end
  announce(
    KEYS[2], 'stock.recounted',
    '"sku":' .. quoted(c.sku) .. ',"location":' .. quoted(c.location) .. ',"seq":' .. whole(level.seq) .. ',"by":' .. quoted(by)
      .. ',"moves":[' .. moved .. ']'
  )
  local atp = level.on_hand - level.held - level.sold - level.safety
  if atp < 0 then
    announce(
      KEYS[2], 'stock.fell_negative',
      '"sku":' .. quoted(c.sku) .. ',"location":' .. quoted(c.location) .. ',"deficit":' .. whole(-atp)
    )
  end
end

local function count_one(c)
  -- Read.
  local level = level_of(KEYS[1], c.sku, c.location)
  local last_as_of = tonumber(string.match(redis.call('HGET', KEYS[5], field_of(c.sku, c.location)) or '', '^%S+ (%d+)') or 0)
  local function reply_of(code, is, orders, units)
    return {
      code, whole(is.on_hand), whole(is.held), whole(is.sold), whole(is.exposed), whole(is.safety), whole(is.seq), whole(is.owed),
      whole(orders), whole(units),
    }
  end

  -- Refuse.
  if level and ((c.seq > 0 and c.seq <= level.seq) or (c.kind ~= '' and c.as_of < last_as_of)) then
    return reply_of('stale', level, 0, 0)
  end

  -- Write.
  c.fresh = not level
  if c.fresh then
    redis.call('SADD', KEYS[7], c.location)
  end
  level = level or new_level(c.sku, c.location)
  local orders, units = 0, 0
  for _, family in ipairs(c.families) do
    local moved = net_family(KEYS[2], KEYS[4], c, level, family)
    orders, units = orders + (moved ~= 0 and 1 or 0), units + moved
  end
  if not c.last then
    return reply_of('more', level, orders, units)
  end
  net_purged(c, level)
  set_level(c, level)
  return reply_of('counted', level, orders, units)
end

-- Read, Refuse: every argument, before the first count is written.
local counts, key = {}, 8
for at = 3, #ARGV, 12 do
  local negative, digits = string.match(ARGV[at + 2], '^(%-?)(%d+)$')
  local quantity, how_many = integer(digits), integer(ARGV[at + 11])
  local c = {
    sku = ARGV[at], location = ARGV[at + 1], quantity = quantity and (negative == '-' and -quantity or quantity),
    safety = integer(ARGV[at + 3]), seq = integer(ARGV[at + 4]), kind = ARGV[at + 5], as_of = integer(ARGV[at + 6]),
    horizon = integer(ARGV[at + 7]), lacks = integer(ARGV[at + 8]), source = ARGV[at + 9], last = ARGV[at + 10] == '1', families = {},
  }
  if not quantity or not c.seq or not c.as_of or not c.horizon or not c.lacks or not how_many or not fresh_safety
    or (ARGV[at + 3] ~= '' and not c.safety) then
    return redis.error_reply('ERR flashd: recount wants whole numbers')
  end
  for index = 1, how_many do
    c.families[index], key = { KEYS[key], KEYS[key + 1], KEYS[key + 2] }, key + 3
  end
  counts[#counts + 1] = c
end

-- Write, count by count.
local replies = {}
for index, c in ipairs(counts) do
  replies[index] = count_one(c)
end
write_levels(KEYS[1], KEYS[2], KEYS[3])
return replies
