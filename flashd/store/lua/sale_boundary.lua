-- sale_boundary -- Say that a sale's window opened or is over, once over all processes.
-- KEYS[1] sale HASH sales and their versions
-- KEYS[2] told HASH sale:told
-- KEYS[3] dirty ZSET SKUs whose published figures may have changed
-- KEYS[4] journal STREAM j
-- ARGV[1] name of the sale
-- ARGV[2] version that the caller knows
-- ARGV[3] kind opened or over
-- ARGV[4] start ms since 1970, inclusive
-- ARGV[5] end ms since 1970, exclusive
-- RETURNS `told`, `known` (it was said before), `early` (the server's clock is not there yet), `late` (opened: it is over already) or
--   `other` (there is no such sale, it has ended, or another version of it stands there)
-- KEEPS each instant is said once
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include rule_parts
-- @include sale

-- Read.
local version, first, past = integer(ARGV[2]), integer(ARGV[4]), integer(ARGV[5])
local at = ARGV[3] == 'opened' and first or past
local sale = read_sale(KEYS[1], ARGV[1])

-- Refuse.
if not version or not first or not past or (ARGV[3] ~= 'opened' and ARGV[3] ~= 'over') then
  return redis.error_reply('ERR flashd: sale_boundary wants whole numbers, and opened or over')
elseif not sale or sale.state == 'ended' or sale.version ~= version then
  return 'other'
elseif now_ms < at then
  return 'early'
elseif ARGV[3] == 'opened' and now_ms >= past then
  return 'late'
end
local mark = ARGV[1] .. '\031' .. ARGV[3] .. '\031' .. whole(at)
if redis.call('HEXISTS', KEYS[2], mark) == 1 then
  return 'known'
end

-- Write.
redis.call('HSET', KEYS[2], mark, whole(now_ms))
mark_dirty(KEYS[3], sale.skus)
announce(
  KEYS[4], 'sale.' .. ARGV[3],
  '"sale":' .. quoted(sale.name) .. ',"version":' .. whole(version) .. ',"start_ms":' .. whole(first) .. ',"end_ms":' .. whole(past)
)
return 'told'
