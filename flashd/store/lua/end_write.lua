#!lua flags=allow-oom
-- end_write -- Settle what is known of writes that were begun.
-- KEYS[1] stock HASH counters
-- KEYS[2] journal STREAM j
-- KEYS[3] dirty ZSET SKUs whose stock changed
-- KEYS[4] kit HASH kits
-- KEYS[5] shelf HASH exp:<channel>
-- KEYS[6] settling ZSET settling:<channel>
-- KEYS[7] own_dirty ZSET dirty:<channel>
-- ARGV[1] channel whose figures they are
-- ARGV[2..] ends for each: SKU, key, outcome (applied, refused or unknown), figure (or ''), at ms of the platform's clock
-- RETURNS per end the packed row, or '' where there is none
-- KEEPS sum of backed exposures = exposed; an end whose key is not the row's newest changes nothing
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

local stock, shelf, own_dirty = KEYS[1], KEYS[5], KEYS[7]
local moves, lines = {}, {}

-- Read, Refuse: every argument, before the first row is written.
local ends = {}
for at = 2, #ARGV, 5 do
  local ended = { sku = ARGV[at], key = ARGV[at + 1], outcome = ARGV[at + 2], figure = nil, at = integer(ARGV[at + 4] or '') }
  if ARGV[at + 3] ~= '' then
    ended.figure = integer(ARGV[at + 3])
  end
  if not ended.at or (ARGV[at + 3] ~= '' and not ended.figure) then
    return redis.error_reply('ERR flashd: end_write wants five arguments an end, figure and time in digits')
  end
  ends[#ends + 1] = ended
end

-- Write, end by end.
local replies = {}
for index, ended in ipairs(ends) do
  local row = read_listing(shelf, ended.sku)
  if row then
    local was_exposed, was_state = row.exposed, row.state
    end_listing(row, ended)
    if row.state ~= was_state then
      settle_backing(stock, row, read_kit(KEYS[4], row.sku), row.backed, was_exposed, moves, lines)
      write_listing(shelf, row)
      index_settling(KEYS[6], row)
      touch_dirty(own_dirty, row.sku, now_ms)
    end
  end
  replies[index] = row and pack_listing(row) or ''
end
announce_exposure(KEYS[2], 'stock.returned', ARGV[1], moves, #moves > 0 and lines or {})
write_levels(stock, KEYS[2], KEYS[3])
return replies
