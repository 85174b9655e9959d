-- What a version of an order demands of stock (see draw.lua), before anything is written. *c* is what accept_one.lua
-- makes; its hold, if any, must be live still. Needs kit.lua, pick.lua, record.lua.

-- What an order has now: its items and kits, and what was ordered as its platform knows it.
local function read_wanted(c)
  local items, bundles = read_items(redis.call('HGET', c.key, 'i')), read_bundles(redis.call('HGET', c.key, 'k'))
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

local function plan(c, verdict)
  local old, known, ordered_before = {}, {}, new_bag()
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
end

-- Nothing is wanted any more. *travels* as in draw.lua.
local function plan_cancel(c, travels)
  local old, known, ordered_before = read_wanted(c)
  local d = new_demand(c, new_bag(), old)
  d.travels, c.had_bundles = travels, #known > 0
  compare_ordered(c, d, ordered_before, new_bag())
  return d, old
end
