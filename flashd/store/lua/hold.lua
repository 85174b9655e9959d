-- hold -- Set stock aside for each request on its own, all lines or nothing.
-- KEYS[1] stock HASH counters
-- KEYS[2] hold HASH reservations
-- KEYS[3] hold_due ZSET live holds by deadline
-- KEYS[4] hold_end ZSET ended holds by the time they may go
-- KEYS[5] journal STREAM j
-- KEYS[6] dirty ZSET SKUs whose stock changed
-- KEYS[7] use HASH what counts against quotas and limits
-- KEYS[8] kit HASH what kits are made of
-- KEYS[9] rule HASH rules of sales by SKU
-- ARGV[1..] requests for each: id, digest, ttl_ms, channel, customer, items, terms, thresholds
-- RETURNS per request {code, state, deadline ms, SKU, units left ...}: `held`, `repeat`, `conflict`, `short`, `unknown_sku`,
--   {`closed`, .., sale, start ms, end ms, SKU}, {`limit`, .., sale, what the customer has, may have, SKU}, or `again` (nothing written: overdue holds are left to sweep)
-- KEEPS on hand = atp + held + sold + safety, none below zero; refusals are not stored
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include sale
-- @include stock
-- @include kit
-- @include uses
-- @include allowance
-- @include units
-- @include terms
-- @include pick
-- @include threshold
-- @include reservation

local keys = {
  stock = KEYS[1], hold = KEYS[2], hold_due = KEYS[3], hold_end = KEYS[4], journal = KEYS[5], dirty = KEYS[6], use = KEYS[7],
  kit = KEYS[8], rule = KEYS[9],
}

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

-- Read, Refuse: every argument, before the first hold is written.
local wishes = {}
for at = 1, #ARGV, 8 do
  local wish = {
    id = ARGV[at], digest = ARGV[at + 1], ttl = integer(ARGV[at + 2]), channel = ARGV[at + 3], customer = ARGV[at + 4],
    order = '', reason = '', ordered = bag_of(read_items(ARGV[at + 5])), terms = read_terms(ARGV[at + 6] or ''),
    thresholds = read_thresholds(ARGV[at + 7]),
  }
  if not wish.ttl or not wish.terms or not ARGV[at + 7] then
    return redis.error_reply('ERR flashd: hold wants eight arguments a request, the time in digits')
  end
  wishes[#wishes + 1] = wish
end

-- Write, hold by hold.
local replies = {}
for index, wish in ipairs(wishes) do
  replies[index] = hold_one(wish)
end
write_levels(keys.stock, keys.journal, keys.dirty)
return replies
