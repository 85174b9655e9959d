-- Sales and the rules made of them. A sale is packed in the HASH sale: version, state, by, changed ms, SKUs (joined by
-- 0x1e) and the document (JSON), joined by 0x1d; each of its versions stands under `<name> 0x1f <version>` as well.
-- Needs integer.lua, rule_parts.lua.
local function read_sale(sales, name)
  local packed = redis.call('HGET', sales, name)
  if not packed then
    return nil
  end
  local part = parts_of(packed, '\029')
  return {
    name = name, version = tonumber(part[1]), state = part[2], by = part[3], changed = part[4],
    skus = part[5] ~= '' and parts_of(part[5], '\030') or {}, document = part[6],
  }
end

local function write_sale(sales, sale)
  local packed = table.concat({
    whole(sale.version), sale.state, sale.by, whole(now_ms), table.concat(sale.skus, '\030'), sale.document,
  }, '\029')
  redis.call('HSET', sales, sale.name, packed)
  redis.call('HSET', sales, sale.name .. '\031' .. whole(sale.version), packed)
end

local function reply_of_sale(code, sale)
  return { code, whole(sale.version), sale.state, sale.by, sale.changed or whole(now_ms), sale.document }
end

local function write_rules(rules, sku, list)
  local packed = {}
  for index, rule in ipairs(list) do
    packed[index] = table.concat(rule, '\031')
  end
  if #packed == 0 then
    redis.call('HDEL', rules, sku)
  else
    redis.call('HSET', rules, sku, table.concat(packed, '\030'))
  end
end

local function without(list, sale)
  local rest = {}
  for _, rule in ipairs(list) do
    if rule[1] ~= sale then
      rest[#rest + 1] = rule
    end
  end
  return rest
end

local function mark_dirty(dirty, skus)
  for _, sku in ipairs(skus) do
    redis.call('ZADD', dirty, 'NX', whole(now_ms), sku)
  end
end
