#!lua flags=allow-oom
-- settle_listings -- Close what was written or observed before an instant up to which all orders were seen.
-- KEYS[1] stock HASH counters
-- KEYS[2] journal STREAM j
-- KEYS[3] dirty ZSET SKUs whose stock changed
-- KEYS[4] kit HASH kits
-- KEYS[5] shelf HASH exp:<channel>
-- KEYS[6] settling ZSET settling:<channel>
-- KEYS[7] own_dirty ZSET dirty:<channel>
-- ARGV[1] channel whose figures they are
-- ARGV[2] seen_ms instant of the platform's clock
-- ARGV[3] limit how many at most
-- RETURNS {SKU, packed row ...} of those that settled
-- KEEPS sum of backed exposures = exposed; it rises beyond what is free only by drift, which is said
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include stock
-- @include kit
-- @include listing_row
-- @include listing
-- @include listing_write
-- @include dirty

-- Read.
local stock, journal, shelf, channel = KEYS[1], KEYS[2], KEYS[5], ARGV[1]
local seen, limit = integer(ARGV[2]), integer(ARGV[3])

-- Refuse.
if not seen or not limit then
  return redis.error_reply('ERR flashd: settle_listings wants whole numbers')
end

-- Write, row by row. What falls goes back before what rises is looked at.
local skus = redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', '(' .. whole(seen), 'LIMIT', 0, whole(limit))
local replies, rises = {}, {}
local said = { returned = { moves = {}, lines = {} }, granted = { moves = {}, lines = {} }, drifted = { moves = {}, lines = {} } }

local function close_row(row, was_exposed, kind)
  settle_backing(stock, row, read_kit(KEYS[4], row.sku), row.backed, was_exposed, said[kind].moves, said[kind].lines)
end

for _, sku in ipairs(skus) do
  local row = read_listing(shelf, sku)
  local was_exposed = row and row.exposed
  local drifted = row and settle_listing(row, seen)
  redis.call('ZREM', KEYS[6], sku)
  if drifted ~= nil then
    write_listing(shelf, row)
    touch_dirty(KEYS[7], sku, now_ms)
    replies[#replies + 1] = sku
    replies[#replies + 1] = pack_listing(row)
    if row.exposed > was_exposed then
      rises[#rises + 1] = { row = row, was = was_exposed, drifted = drifted }
    else
      close_row(row, was_exposed, 'returned')
    end
  end
end
for _, rise in ipairs(rises) do -- a first look that free stock backs is no drift
  local room = free_for_listing(stock, rise.row, read_kit(KEYS[4], rise.row.sku))
  local fits = not rise.drifted and (not rise.row.backed or rise.row.exposed - rise.was <= room)
  close_row(rise.row, rise.was, fits and 'granted' or 'drifted')
end
announce_exposure(journal, 'stock.returned', channel, said.returned.moves, #said.returned.moves > 0 and said.returned.lines or {})
announce_exposure(journal, 'stock.granted', channel, said.granted.moves, #said.granted.moves > 0 and said.granted.lines or {})
announce_exposure(journal, 'stock.drifted', channel, said.drifted.moves, said.drifted.lines)
write_levels(stock, journal, KEYS[3])
return replies
