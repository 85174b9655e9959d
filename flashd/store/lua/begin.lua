-- begin -- Grant each wish to show a figure as far as free stock backs it, and note that a write is on its way.
-- KEYS[1] stock HASH counters
-- KEYS[2] journal STREAM j
-- KEYS[3] dirty ZSET SKUs whose stock changed
-- KEYS[4] kit HASH kits
-- KEYS[5] rule HASH rules of sales by SKU
-- KEYS[6] shelf HASH exp:<channel>
-- KEYS[7] settling ZSET settling:<channel>
-- ARGV[1] channel whose figures they are
-- ARGV[2] location where a row without exposure takes its units from now on
-- ARGV[3..] wishes for each: SKU, units, mode (compare or absolute), key, was (or ''), backed (0 or 1)
-- RETURNS per wish {code, units, packed row}: `begun` (also when repeated), `unchanged`, `busy`, `unknown`, `stopped`
-- KEEPS sum of backed exposures = exposed, and never more than is free is granted
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include rule_parts
-- @include sale
-- @include stock
-- @include kit
-- @include listing_row
-- @include listing
-- @include listing_write

local stock, channel, shelf = KEYS[1], ARGV[1], KEYS[6]
local moves, lines = {}, {}

local function is_stopped(sku)
  for _, rule in ipairs(rules_of(KEYS[5], sku)) do
    if rule[2] == 'stopped' and (rule[8] == '' or string.find(' ' .. rule[8] .. ' ', ' ' .. channel .. ' ', 1, true)) then
      return true
    end
  end
  return false
end

local function begin_one(wish)
  -- Read.
  local row = read_listing(shelf, wish.sku)
  local parts = read_kit(KEYS[4], wish.sku)
  row = row or new_listing(wish.sku, ARGV[2])
  local was_backed, was_exposed, packed = row.backed, row.exposed, pack_listing(row)

  -- Refuse.
  if wish.units > 0 and row.key ~= wish.key and is_stopped(wish.sku) then
    return { 'stopped', '0', packed }
  end
  row.location = was_exposed == 0 and ARGV[2] or row.location
  local code, units = begin_listing(row, wish, free_for_listing(stock, row, parts))
  if code ~= 'begun' and code ~= 'unchanged' then
    return { code == 'repeat' and 'begun' or code, whole(units), packed }
  end

  -- Write.
  settle_backing(stock, row, parts, was_backed, was_exposed, moves, lines)
  write_listing(shelf, row)
  index_settling(KEYS[7], row)
  return { code, whole(units), pack_listing(row) }
end

-- Read, Refuse: every argument, before the first row is written.
local wishes = {}
for at = 3, #ARGV, 6 do
  local was = ARGV[at + 4] == '' and -1 or integer(ARGV[at + 4])
  local wish = {
    sku = ARGV[at], units = integer(ARGV[at + 1]), mode = ARGV[at + 2], key = ARGV[at + 3], was = was,
    backed = ARGV[at + 5] == '1',
  }
  if not wish.units or not was or not ARGV[at + 5] or not string.find(wish.key, '^%S+$') then
    return redis.error_reply('ERR flashd: begin wants six arguments a wish, figures in digits, a key without blanks')
  end
  wishes[#wishes + 1] = wish
end

-- Write, wish by wish.
local replies = {}
for index, wish in ipairs(wishes) do
  replies[index] = begin_one(wish)
end
announce_exposure(KEYS[2], 'stock.granted', channel, moves, #moves > 0 and lines or {})
write_levels(stock, KEYS[2], KEYS[3])
return replies
