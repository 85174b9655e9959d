-- One wish to hold: Read, Refuse, Write. Uses *keys* of its script. Needs kit.lua, allowance.lua, pick.lua, threshold.lua,
-- reservation.lua.
local function left_of(code, pairs_left)
  local reply = { code, '', '0' }
  for _, text in ipairs(pairs_left) do
    reply[#reply + 1] = text
  end
  return reply
end

local function unknown_of(wish)
  local unknown = {}
  for _, sku in ipairs(wish.wants.order) do
    if not is_known(keys.stock, sku, wish.terms) then
      unknown[#unknown + 1] = sku
      unknown[#unknown + 1] = '0'
    end
  end
  return unknown
end

-- How much of each SKU is free by the terms: at all locations together, or at the one that covers most.
local function free_by_terms(wish)
  local free, places = {}, wish.terms.locations
  if not wish.terms.split then
    places = { (best_location(keys.stock, wish.wants, wish.terms)) }
  end
  for _, sku in ipairs(wish.wants.order) do
    free[sku] = 0
    for _, location in ipairs(places) do
      free[sku] = free[sku] + free_at(keys.stock, sku, location)
    end
  end
  return free
end

-- Of what there is too little, and how much of it there is; nothing: the hold can be granted.
local function short_of(wish)
  local free, made_of, short = free_by_terms(wish), parts_by_sku(wish.bundles), {}
  for index, sku in ipairs(wish.ordered.order) do
    local there = free[sku]
    if made_of[sku] then
      there = nil
      for _, part in ipairs(made_of[sku]) do
        local units = math.floor(free[part.sku] / part.quantity)
        there = math.min(there or units, units)
      end
    end
    there = shown(there, wish.thresholds[index])
    if there < wish.ordered.units[sku] then
      short[#short + 1] = sku
      short[#short + 1] = whole(there)
    end
  end
  if #short > 0 then
    return short
  end
  for _, sku in ipairs(wish.wants.order) do -- each SKU alone would do, all together do not
    if free[sku] < wish.wants.units[sku] then
      short[#short + 1] = sku
      short[#short + 1] = whole(free[sku])
    end
  end
  return short
end

-- Returns the first limit that is passed, and what is left of quotas that are.
local function breach_of(count, before)
  local left = {}
  for _, breach in ipairs(breaches_of(keys, count, before, false)) do
    if not breach.quota then
      return breach, left
    end
    left[#left + 1] = breach.sku
    left[#left + 1] = whole(math.max(0, breach.may - breach.had))
  end
  return nil, left
end

local function hold_one(wish)
  -- Read.
  local known = read_hold(keys, wish.id)

  -- Refuse.
  if known then
    return { known.digest == wish.digest and 'repeat' or 'conflict', known.state, whole(known.expires) }
  end
  wish.ordered, wish.thresholds = bag_of(read_items(wish.items)), read_thresholds(wish.thresholds)
  wish.wants, wish.bundles = take_apart(keys.kit, wish.ordered, {})
  local unknown = unknown_of(wish)
  if #unknown > 0 then
    return left_of('unknown_sku', unknown)
  end
  local none = new_bag()
  local count = count_uses(keys, {
    ordered = wish.ordered, had = none, before = none, channel = wish.channel, customer = wish.customer, at = now_ms,
  })
  if #count.barred > 0 then
    local rule = count.barred[1].rule
    return { 'closed', '', '0', rule.sale, whole(rule.from), whole(rule.past), count.barred[1].sku }
  end
  local limit, short
  local function granted()
    limit, short = breach_of(count, none)
    if not limit and #short == 0 then
      short = short_of(wish)
    end
    return not limit and #short == 0
  end
  local covered = cover(keys, granted)
  if covered == 'again' then
    return { 'again', '', '0' }
  elseif limit then
    return { 'limit', '', '0', limit.sale, whole(limit.had), whole(limit.may), limit.sku }
  elseif covered == 'short' then
    return left_of('short', short)
  end

  -- Write.
  local moves = {}
  wish.items = {}
  for index, parcel in ipairs(pick(keys.stock, wish.wants, wish.terms)) do
    moves[index] = shift(level_of(keys.stock, parcel.sku, parcel.location), 0, parcel.units, 0, 0, 0)
    wish.items[index] = { sku = parcel.sku, location = parcel.location, quantity = parcel.units, taken = 0, counted = 0 }
  end
  wish.state, wish.began, wish.expires, wish.ended = 'held', now_ms, now_ms + wish.ttl, 0
  wish.uses = count.uses
  change_uses(keys, none, wish.uses)
  write_hold(keys, wish)
  redis.call('ZADD', keys.hold_due, whole(wish.expires), wish.id)
  announce_hold(keys, wish, moves, ',"expires_ms":' .. whole(wish.expires) .. tell_uses(none, wish.uses))
  return { 'held', 'held', whole(wish.expires) }
end
