-- recount -- Set on hand and safety of one SKU to a count.
-- KEYS[1] stock HASH counters
-- KEYS[2] journal STREAM j
-- KEYS[3] dirty ZSET SKUs whose stock changed
-- ARGV[1] sku that was counted
-- ARGV[2] location where
-- ARGV[3] on_hand units counted
-- ARGV[4] safety units kept back
-- ARGV[5] seq of the count, or 0
-- ARGV[6] lacks units of sold that this count lacks already
-- ARGV[7] by whom
-- RETURNS {code, on hand, held, sold, exposed, safety, seq}: `counted`, or `stale` (a later count is known; nothing changed)
-- KEEPS on hand = atp + held + sold + safety; atp below zero is a deficit, and said
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include stock

-- Read.
local sku, location = ARGV[1], ARGV[2]
local on_hand, safety, seq, lacks = integer(ARGV[3]), integer(ARGV[4]), integer(ARGV[5]), integer(ARGV[6])
local level = level_of(KEYS[1], sku, location)

local function reply_of(code, is)
  return { code, whole(is.on_hand), whole(is.held), whole(is.sold), whole(is.exposed), whole(is.safety), whole(is.seq) }
end

-- Refuse.
if not on_hand or not safety or not seq or not lacks then
  return redis.error_reply('ERR flashd: recount wants whole numbers')
end
if level and seq > 0 and seq <= level.seq then
  return reply_of('stale', level)
end

-- Write.
level = level or new_level(sku, location)
local moved = shift(level, on_hand - level.on_hand, 0, -math.min(lacks, level.sold), 0, safety - level.safety)
level.seq = math.max(seq, level.seq)
announce(
  KEYS[2], 'stock.recounted',
  '"sku":' .. quoted(sku) .. ',"location":' .. quoted(location) .. ',"seq":' .. whole(level.seq) .. ',"by":'
    .. quoted(ARGV[7]) .. ',"moves":[' .. moved .. ']'
)
local atp = level.on_hand - level.held - level.sold - level.safety
if atp < 0 then
  announce(
    KEYS[2], 'stock.fell_negative',
    '"sku":' .. quoted(sku) .. ',"location":' .. quoted(location) .. ',"deficit":' .. whole(-atp)
  )
end
write_levels(KEYS[1], KEYS[2], KEYS[3])
return reply_of('counted', level)
