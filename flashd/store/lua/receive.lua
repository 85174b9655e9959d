-- receive -- Put goods that came on hand, and give them to those who wait, before anything becomes free; with none, only give.
-- KEYS[1] stock HASH counters
-- KEYS[2] wait ZSET waiting orders
-- KEYS[3] desk ZSET what a human must decide
-- KEYS[4] backorder ZSET orders that wait for goods
-- KEYS[5] owing ZSET who waits for which SKU, first come first
-- KEYS[6] journal STREAM j
-- KEYS[7] dirty ZSET SKUs whose stock changed
-- KEYS[8] receipts ZSET receipt id -> ms when it came
-- KEYS[9] locations SET every location of a level
-- KEYS[10..] rest MIXED q:<backend> of every backend that was ever used, then the records of the first who wait for the SKU, in order
-- ARGV[1] backends names in the order of their queues, joined by a space
-- ARGV[2] sku that came
-- ARGV[3] location where
-- ARGV[4] units how many, 0 to give only
-- ARGV[5] receipt its id; not looked at without units
-- ARGV[6] safety of a SKU that was not known
-- ARGV[7] by whom
-- RETURNS {code, on hand, held, sold, exposed, safety, seq, owed, order ...}: `received` with the orders that are complete now,
--   `repeat` (the receipt was known), or {`again`} (another waits first, or a backend was not listed; nothing was written)
-- KEEPS nobody who came later gets a unit of a SKU first; every record in exactly one index; owed = what shortfalls and backorders miss
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include stock
-- @include kit
-- @include waiting
-- @include order_event
-- @include owing
-- @include transition
-- @include decide
-- @include serving

-- Read.
local keys = {
  stock = KEYS[1], wait = KEYS[2], desk = KEYS[3], backorder = KEYS[4], owing = KEYS[5], journal = KEYS[6], dirty = KEYS[7], q = {},
}
local receipts, locations, next_key = KEYS[8], KEYS[9], 10
for name in string.gmatch(ARGV[1], '%S+') do
  keys.q[name], next_key = KEYS[next_key], next_key + 1
end
local records, listed = {}, true
for index = next_key, #KEYS do
  local head = read_head(KEYS[index])
  listed = listed and head and keys.q[head.backend] and true
  records[#records + 1] = KEYS[index]
end
local sku, location, units, safety = ARGV[2], ARGV[3], integer(ARGV[4]), integer(ARGV[6])
local level = level_of(keys.stock, sku, location)

local function reply_of(code, is)
  return {
    code, whole(is.on_hand), whole(is.held), whole(is.sold), whole(is.exposed), whole(is.safety), whole(is.seq), whole(is.owed),
  }
end

-- Refuse.
if not units or not safety then
  return redis.error_reply('ERR flashd: receive wants whole numbers')
end
if units > 0 and redis.call('ZSCORE', receipts, ARGV[5]) then
  return reply_of('repeat', level)
end
if not listed or not is_row(keys.owing, sku, location, records) then
  return { 'again' }
end

-- Write.
if not level then
  level = new_level(sku, location)
  redis.call('SADD', locations, location)
end
if units > 0 then
  local fresh = level.on_hand == 0 and level.seq == 0 and level.safety == 0 and level.sold == 0 and level.held == 0
  local moved = shift(level, units, 0, 0, 0, fresh and safety or 0)
  redis.call('ZREMRANGEBYSCORE', receipts, '-inf', whole(now_ms - 30 * 86400000))
  redis.call('ZADD', receipts, whole(now_ms), ARGV[5])
  announce(
    keys.journal, 'stock.received',
    '"sku":' .. quoted(sku) .. ',"location":' .. quoted(location) .. ',"receipt":' .. quoted(ARGV[5]) .. ',"by":' .. quoted(ARGV[7])
      .. ',"moves":[' .. moved .. ']'
  )
end
local served, kept, complete = {}, 0, false
for _, key in ipairs(records) do
  complete, kept = serve_one(keys, level, key, kept)
  if complete then
    served[#served + 1] = member_of(key)
  end
end
write_levels(keys.stock, keys.journal, keys.dirty)
local reply = reply_of('received', level)
for _, member in ipairs(served) do
  reply[#reply + 1] = member
end
return reply
