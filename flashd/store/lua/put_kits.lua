-- put_kits -- Define kits; one without components is no longer a kit.
-- KEYS[1] kit HASH kits
-- KEYS[2] stock HASH counters
-- KEYS[3] journal STREAM j
-- KEYS[4] dirty ZSET SKUs whose stock changed
-- KEYS[5..] shelves HASH exp:<channel> of every channel
-- ARGV[1] by whom
-- ARGV[2] locations of the pool, joined by 0x1f
-- ARGV[3..] kits for each: SKU, parts as includes/kit.lua packs them, or ''
-- RETURNS {code, SKU}: `put`; or the first SKU that is `exposed` on a channel, `nested` (it is a component, or has one that is a
--   kit) or `stocked` (it has stock of its own), and nothing is written
-- KEEPS a kit has components only, and they have no components; a listing's backing follows its kit
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include stock
-- @include kit
-- @include listing_row
-- @include listing

-- Read.
local wanted, changes, used = {}, {}, {}
local known = redis.call('HGETALL', KEYS[1])
for index = 1, #known, 2 do
  wanted[known[index]] = known[index + 1]
end
for at = 3, #ARGV, 2 do
  if (wanted[ARGV[at]] or '') ~= ARGV[at + 1] then
    wanted[ARGV[at]] = ARGV[at + 1] ~= '' and ARGV[at + 1] or nil
    changes[#changes + 1] = ARGV[at]
  end
end
for sku, packed in pairs(wanted) do
  for _, part in ipairs(unpack_parts(packed)) do
    used[part.sku] = used[part.sku] or sku
  end
end

local function has_stock(sku)
  for location in string.gmatch(ARGV[2], '[^\031]+') do
    local level = level_of(KEYS[2], sku, location)
    if level and (level.on_hand ~= 0 or level.held + level.sold + level.exposed > 0) then
      return true
    end
  end
  return false
end

local function is_exposed(sku)
  for index = 5, #KEYS do
    local row = read_listing(KEYS[index], sku)
    if row and (row.exposed > 0 or row.state ~= 'idle') then
      return true
    end
  end
  return false
end

-- Refuse.
for _, sku in ipairs(changes) do
  local nested = wanted[sku] ~= nil and used[sku] ~= nil
  for _, part in ipairs(wanted[sku] and unpack_parts(wanted[sku]) or {}) do
    nested = nested or wanted[part.sku] ~= nil
  end
  if nested then
    return { 'nested', sku }
  elseif is_exposed(sku) then
    return { 'exposed', sku }
  elseif wanted[sku] and has_stock(sku) then
    return { 'stocked', sku }
  end
end

-- Write.
for _, sku in ipairs(changes) do
  if wanted[sku] then
    redis.call('HSET', KEYS[1], sku, wanted[sku])
  else
    redis.call('HDEL', KEYS[1], sku)
  end
  redis.call('ZADD', KEYS[4], 'NX', whole(now_ms), sku)
  local parts = {}
  for index, part in ipairs(unpack_parts(wanted[sku] or '')) do
    parts[index] = '[' .. quoted(part.sku) .. ',' .. whole(part.quantity) .. ']'
  end
  announce(
    KEYS[3], 'stock.kit_changed',
    '"sku":' .. quoted(sku) .. ',"by":' .. quoted(ARGV[1]) .. ',"components":[' .. table.concat(parts, ',') .. ']'
  )
end
return { 'put', '' }
