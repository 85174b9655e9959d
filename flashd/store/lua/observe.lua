-- observe -- Note what a platform shows of one SKU; its exposure becomes exact when that settles.
-- KEYS[1] shelf HASH exp:<channel>
-- KEYS[2] settling ZSET settling:<channel>
-- ARGV[1] sku that was looked at
-- ARGV[2] known the packed row as it was before the platform was asked
-- ARGV[3] figure that it shows
-- ARGV[4] at_ms by the platform's clock: it surely showed that then, or before
-- RETURNS the packed row
-- KEEPS exposure is not changed; only an idle or doubtful row that nobody wrote or observed meanwhile is
-- CLOCK none

-- @include integer
-- @include listing_row
-- @include listing
-- @include listing_write

-- Read.
local known = unpack_listing(ARGV[1], ARGV[2])
local figure, at = integer(ARGV[3]), integer(ARGV[4])
local row = read_listing(KEYS[1], ARGV[1]) or unpack_listing(ARGV[1], ARGV[2])

-- Refuse.
if not figure or not at then
  return redis.error_reply('ERR flashd: observe wants figure and time in digits')
end

-- Write.
observe_listing(row, known, figure, at)
write_listing(KEYS[1], row)
index_settling(KEYS[2], row)
return pack_listing(row)
