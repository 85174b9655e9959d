-- Kits: the HASH kit holds "<component> 0x1f <quantity>" joined by 0x1e for each SKU that is put together from others.
-- A hold and an order keep theirs as they were taken apart: "<kit> 0x1f <quantity> 0x1f <component> 0x1f <quantity> ...",
-- joined by 0x1e. A bag is units by SKU, in order. flashd/domain/catalogue.py is the specification. Needs integer.lua.
local kits_there, kit_parts = nil, {}

local function new_bag()
  return { order = {}, units = {} }
end

local function put(bag, sku, units)
  if not bag.units[sku] then
    bag.order[#bag.order + 1] = sku
    bag.units[sku] = 0
  end
  bag.units[sku] = bag.units[sku] + units
end

local function bag_of(items)
  local bag = new_bag()
  for _, item in ipairs(items) do
    put(bag, item.sku, item.quantity)
  end
  return bag
end

local function unpack_parts(packed)
  local parts = {}
  for sku, quantity in string.gmatch(packed, '([^\030\031]+)\031(%d+)') do
    parts[#parts + 1] = { sku = sku, quantity = tonumber(quantity) }
  end
  return parts
end

-- Returns the parts of a kit, or nil where the SKU is none; whether a pool has kits at all is asked once a call.
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

local function read_bundles(packed)
  local bundles = {}
  for sku, quantity, parts in string.gmatch(packed or '', '([^\030\031]+)\031(%d+)\031([^\030]+)') do
    bundles[#bundles + 1] = { sku = sku, quantity = tonumber(quantity), parts = unpack_parts(parts) }
  end
  return bundles
end

local function pack_bundles(bundles)
  local packed = {}
  for index, bundle in ipairs(bundles) do
    local texts = { bundle.sku, whole(bundle.quantity) }
    for _, part in ipairs(bundle.parts) do
      texts[#texts + 1] = part.sku
      texts[#texts + 1] = whole(part.quantity)
    end
    packed[index] = table.concat(texts, '\031')
  end
  return table.concat(packed, '\030')
end

local function parts_by_sku(bundles)
  local made_of = {}
  for _, bundle in ipairs(bundles) do
    made_of[bundle.sku] = bundle.parts
  end
  return made_of
end

-- Returns what *ordered* wants from stock, and the kits among it; those in *known* stay as they were.
local function take_apart(kits, ordered, known)
  local made_of, wants, bundles = parts_by_sku(known), new_bag(), {}
  for _, sku in ipairs(ordered.order) do
    local units, parts = ordered.units[sku], made_of[sku] or read_kit(kits, sku)
    if parts then
      bundles[#bundles + 1] = { sku = sku, quantity = units, parts = parts }
      for _, part in ipairs(parts) do
        put(wants, part.sku, units * part.quantity)
      end
    else
      put(wants, sku, units)
    end
  end
  return wants, bundles
end

-- What was ordered, from what was wanted from stock and the kits among it.
local function ordered_of(items, bundles)
  local ordered = bag_of(items)
  for _, bundle in ipairs(bundles) do
    for _, part in ipairs(bundle.parts) do
      put(ordered, part.sku, -bundle.quantity * part.quantity)
    end
  end
  for _, bundle in ipairs(bundles) do
    put(ordered, bundle.sku, bundle.quantity)
  end
  local wanted = new_bag()
  for _, sku in ipairs(ordered.order) do
    if ordered.units[sku] > 0 then
      put(wanted, sku, ordered.units[sku])
    end
  end
  return wanted
end

-- By how much *new* is more than *old*, each SKU with its parts as they are now: those back what a channel shows.
local function added(kits, old, new)
  local more = {}
  for _, sku in ipairs(new.order) do
    local units = new.units[sku] - (old.units[sku] or 0)
    if units > 0 then
      more[#more + 1] = { sku = sku, quantity = units, parts = read_kit(kits, sku) or { { sku = sku, quantity = 1 } } }
    end
  end
  return more
end
