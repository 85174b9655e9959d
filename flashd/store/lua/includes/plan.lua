-- What a version of an order demands of stock (see draw.lua), before anything is written. *c* is what accept_one.lua
-- makes; its hold, if any, must be live still. Needs kit.lua, pick.lua, record.lua, allowance.lua.

-- What an order has now: its items and kits, and what was ordered as its platform knows it.
local function read_wanted(c)
  local found = redis.call('HMGET', c.key, 'i', 'k', 'u')
  local items, bundles = read_items(found[1]), read_bundles(found[2])
  c.uses_before = read_uses(found[3])
  return items, bundles, c.head.revoked and new_bag() or ordered_of(items, bundles)
end

local function new_demand(c, wants, old)
  local terms = read_terms(c.entry.terms)
  return {
    stock = c.keys.stock, shelf = c.shelf, wants = wants, terms = terms, old = old, held = {}, sold = {}, returned = {},
    blocked = {}, placed = c.entry.placed,
  }
end

-- Platforms that show a figure of their own sold what was added, and put what is gone on sale again.
local function compare_ordered(c, d, old, new)
  if d.terms.mode ~= 'none' then
    d.sold = added(c.keys.kit, old, new)
    d.returned = d.terms.restocks and added(c.keys.kit, new, old) or {}
  end
end

-- What the version counts for in sales, and the units that a stopped one keeps back.
local function count_for_sales(c, d, ordered, had)
  local before, customer = c.uses_before, c.entry.customer or ''
  if not c.hold and #before.order == 0 and not has_rules(c.keys) then
    c.count, c.counted_before = { uses = before, bounds = {}, barred = {}, blocked = {} }, before
    return
  end
  if c.hold then
    before, had, customer = c.hold.uses, ordered_of(c.hold.items, c.hold.bundles), customer ~= '' and customer or c.hold.customer
  end
  c.undecided = c.head and (c.head.state == 'parked' or c.head.state == 'shortfall') and not c.head.released
  if c.undecided then -- it is judged again, but for what counts already
    local sales, counted = known_sales(before), new_bag()
    for _, sku in ipairs(had.order) do
      put(counted, sku, sales[sku] and had.units[sku] or 0)
    end
    had = counted
  end
  c.counted_before = before
  c.count = count_uses(c.keys, {
    ordered = ordered, had = had, before = before, channel = string.match(member_of(c.key), '^([^:]*)'), customer = customer,
    at = c.entry.placed > 0 and c.entry.placed or now_ms,
  })
  local made_of = parts_by_sku(c.bundles)
  for sku, units in pairs(c.count.blocked) do
    for _, part in ipairs(made_of[sku] or { { sku = sku, quantity = 1 } }) do
      d.blocked[part.sku] = (d.blocked[part.sku] or 0) + units * part.quantity
    end
  end
end

-- The channel's reason, and what a sale says against the order.
local function review(c)
  local reasons = reasons_of(c.count, breaches_of(c.keys, c.count, c.counted_before, c.undecided))
  if c.entry.reason ~= '' then
    table.insert(reasons, 1, c.entry.reason)
  end
  return table.concat(reasons, '; ')
end

-- What it counts for stands in the record from now on. Returns that as member of its event.
local function write_uses(c, uses)
  local before = c.uses_before or new_bag()
  change_uses(c.keys, c.counted_before or before, uses)
  if #uses.order > 0 then
    write_field(c.key, 'u', pack_uses(uses))
  elseif #before.order > 0 then
    redis.call('HDEL', c.key, 'u')
  end
  return tell_uses(before, uses)
end

local function plan(c, verdict)
  local old, known, ordered_before = {}, {}, new_bag()
  c.uses_before = new_bag()
  if verdict ~= 'take' then
    old, known, ordered_before = read_wanted(c)
  end
  c.had_bundles = #known > 0 or (verdict == 'take' and c.head ~= nil)
  local ordered = bag_of(read_items(c.entry.items))
  local wants, bundles = take_apart(c.keys.kit, ordered, c.hold and c.hold.bundles or known)
  if verdict == 'amend' then
    for _, item in ipairs(read_items(redis.call('HGET', c.amend_key, 'i'))) do
      old[#old + 1] = item
    end
  end
  local d = new_demand(c, wants, old)
  d.held, d.travels = c.hold and c.hold.items or {}, verdict == 'amend'
  compare_ordered(c, d, ordered_before, ordered)
  c.demand, c.bundles = d, bundles
  count_for_sales(c, d, ordered, ordered_before)
end

-- Nothing is wanted any more. *travels* as in draw.lua.
local function plan_cancel(c, travels)
  local old, known, ordered_before = read_wanted(c)
  local d = new_demand(c, new_bag(), old)
  d.travels, c.had_bundles = travels, #known > 0
  compare_ordered(c, d, ordered_before, new_bag())
  return d, old
end
