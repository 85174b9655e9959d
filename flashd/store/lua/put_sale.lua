-- put_sale -- Write a version of a sale and the rules that other scripts decide by.
-- KEYS[1] sale HASH sales and their versions
-- KEYS[2] rule HASH rules by SKU
-- KEYS[3] dirty ZSET SKUs whose published figures may have changed
-- KEYS[4] journal STREAM j
-- ARGV[1] name of the sale
-- ARGV[2] expected version that it replaces, 0 if that does not matter
-- ARGV[3] by whom
-- ARGV[4] document JSON
-- ARGV[5] start ms since 1970, inclusive
-- ARGV[6] end ms since 1970, exclusive
-- ARGV[7] sale_limit units per customer over the whole sale
-- ARGV[8] channels joined by a space, or ''
-- ARGV[9] closed 1 if its SKUs are not for sale outside the window, else 0
-- ARGV[10..] products for each: SKU, quota, limit
-- RETURNS {code, version, state, by, changed ms, document}: `written`, `unchanged`, `conflict` (another version stands there, and
--   is told), `over` (the sale has ended); or {`overlap`, SKU, the other sale}
-- KEEPS at any instant at most one rule of a SKU is in force
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include rule_parts
-- @include sale

-- Read.
local name, expected, first, past = ARGV[1], integer(ARGV[2]), integer(ARGV[5]), integer(ARGV[6])
local old = read_sale(KEYS[1], name)
local products, skus, numbers_fine = {}, {}, true
for at = 10, #ARGV, 3 do
  numbers_fine = numbers_fine and integer(ARGV[at + 1]) and integer(ARGV[at + 2])
  products[#products + 1] = { sku = ARGV[at], quota = ARGV[at + 1], limit = ARGV[at + 2] }
  skus[#skus + 1] = ARGV[at]
end

-- Refuse.
if not expected or not first or not past or not integer(ARGV[7]) or not numbers_fine then
  return redis.error_reply('ERR flashd: put_sale wants whole numbers')
end
if old and old.state == 'ended' then
  return reply_of_sale('over', old)
end
if old and expected > 0 and expected ~= old.version then
  return reply_of_sale('conflict', old)
end
if old and old.document == ARGV[4] then
  return reply_of_sale('unchanged', old)
end
local lists = {}
for _, product in ipairs(products) do
  local list = without(rules_of(KEYS[2], product.sku), name)
  for _, other in ipairs(list) do
    if first < tonumber(other[4]) and tonumber(other[3]) < past then
      return { 'overlap', product.sku, other[1] }
    end
  end
  lists[product.sku] = list
end

-- Write.
local sale = {
  name = name, version = old and old.version + 1 or 1, state = old and old.state or 'ready', by = ARGV[3], skus = skus,
  document = ARGV[4],
}
for _, sku in ipairs(old and old.skus or {}) do
  write_rules(KEYS[2], sku, without(rules_of(KEYS[2], sku), name))
end
for _, product in ipairs(products) do
  local list = lists[product.sku]
  list[#list + 1] = {
    name, sale.state, ARGV[5], ARGV[6], product.quota, product.limit, ARGV[7], ARGV[8], ARGV[9],
  }
  write_rules(KEYS[2], product.sku, list)
end
write_sale(KEYS[1], sale)
mark_dirty(KEYS[3], skus)
mark_dirty(KEYS[3], old and old.skus or {})
announce(
  KEYS[4], 'sale.changed',
  '"sale":' .. quoted(name) .. ',"version":' .. whole(sale.version) .. ',"state":' .. quoted(sale.state) .. ',"by":' .. quoted(sale.by)
    .. ',"start_ms":' .. ARGV[5] .. ',"end_ms":' .. ARGV[6]
)
return reply_of_sale('written', sale)
