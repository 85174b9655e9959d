-- Kits: the HASH kit holds "<component> 0x1f <quantity>" joined by 0x1e for each SKU that is put together from others.
-- Needs integer.lua.
local kits_there, kit_parts = nil, {}

local function unpack_parts(packed)
  local parts = {}
  for sku, quantity in string.gmatch(packed, '([^\030\031]+)\031(%d+)') do
    parts[#parts + 1] = { sku = sku, quantity = tonumber(quantity) }
  end
  return parts
end

local function pack_parts(parts)
  local packed = {}
  for index, part in ipairs(parts) do
    packed[index] = part.sku .. '\031' .. whole(part.quantity)
  end
  return table.concat(packed, '\030')
end

-- Returns the parts of a kit, or nil where the SKU is none; a pool without kits is asked once a call.
local function read_kit(kits, sku)
  if kits_there == nil then
    kits_there = redis.call('HLEN', kits) > 0
  end
  if not kits_there then
    return nil
  end
  if kit_parts[sku] == nil then
    local packed = redis.call('HGET', kits, sku)
    kit_parts[sku] = packed and unpack_parts(packed) or false
  end
  return kit_parts[sku] or nil
end
