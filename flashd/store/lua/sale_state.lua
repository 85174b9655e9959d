-- sale_state -- Stop, resume or end a sale: from then on every script decides by it.
-- KEYS[1] sale HASH sales and their versions
-- KEYS[2] rule HASH rules by SKU
-- KEYS[3] dirty ZSET SKUs whose published figures may have changed
-- KEYS[4] journal STREAM j
-- ARGV[1] name of the sale
-- ARGV[2] state ready, stopped or ended
-- ARGV[3] by whom
-- RETURNS {code, version, state, by, changed ms, document}: `written`, `unchanged`, `over` (the sale has ended); or {`unknown_sale`}
-- KEEPS an ended sale has no rules, and stays ended
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include rule_parts
-- @include sale

local PAST = { ready = 'sale.resumed', stopped = 'sale.stopped', ended = 'sale.ended' }

-- Read.
local state, sale = ARGV[2], read_sale(KEYS[1], ARGV[1])

-- Refuse.
if not PAST[state] then
  return redis.error_reply('ERR flashd: sale_state wants ready, stopped or ended')
end
if not sale then
  return { 'unknown_sale' }
elseif sale.state == state then
  return reply_of_sale('unchanged', sale)
elseif sale.state == 'ended' then
  return reply_of_sale('over', sale)
end

-- Write.
for _, sku in ipairs(sale.skus) do
  local list = rules_of(KEYS[2], sku)
  if state == 'ended' then
    list = without(list, sale.name)
  end
  for _, rule in ipairs(list) do
    if rule[1] == sale.name then
      rule[2] = state
    end
  end
  write_rules(KEYS[2], sku, list)
end
sale.state, sale.by, sale.changed = state, ARGV[3], nil
write_sale(KEYS[1], sale)
mark_dirty(KEYS[3], sale.skus)
announce(
  KEYS[4], PAST[state],
  '"sale":' .. quoted(sale.name) .. ',"version":' .. whole(sale.version) .. ',"state":' .. quoted(state) .. ',"by":' .. quoted(sale.by)
)
return reply_of_sale('written', sale)
