-- hold -- Set stock aside for each request on its own, all lines or nothing.
-- KEYS[1] stock HASH counters
-- KEYS[2] hold HASH reservations
-- KEYS[3] hold_due ZSET live holds by deadline
-- KEYS[4] hold_end ZSET ended holds by the time they may go
-- KEYS[5] journal STREAM j
-- KEYS[6] dirty ZSET SKUs whose stock changed
-- ARGV[1..] requests for each: id, digest, ttl_ms, channel, customer, items
-- RETURNS per request {code, state, deadline ms, SKU, units left ...}: `held`, `repeat`, `conflict`, `short`, `unknown_sku`,
--   or `again` (nothing written: overdue holds are left to sweep)
-- KEEPS on hand = atp + held + sold + safety, none below zero; refusals are not stored
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include stock
-- @include reservation

local keys = { stock = KEYS[1], hold = KEYS[2], hold_due = KEYS[3], hold_end = KEYS[4], journal = KEYS[5], dirty = KEYS[6] }

local function left_of(items, code)
  local reply = { code, '', '0' }
  for _, item in ipairs(items) do
    local level = level_of(keys.stock, item.sku, item.location)
    if (code == 'unknown_sku') == not level and not (level and free_of(level) >= item.quantity) then
      reply[#reply + 1] = item.sku
      reply[#reply + 1] = level and whole(free_of(level)) or '0'
    end
  end
  return reply
end

local function hold_one(wish)
  -- Read.
  local known = read_hold(keys, wish.id)

  -- Refuse.
  if known then
    return { known.digest == wish.digest and 'repeat' or 'conflict', known.state, whole(known.expires) }
  end
  for _, item in ipairs(wish.items) do
    if not level_of(keys.stock, item.sku, item.location) then
      return left_of(wish.items, 'unknown_sku')
    end
  end
  local covered = cover(keys, wish.items)
  if covered == 'again' then
    return { 'again', '', '0' }
  elseif covered == 'short' then
    return left_of(wish.items, 'short')
  end

  -- Write.
  local moves = {}
  for index, item in ipairs(wish.items) do
    moves[index] = shift(level_of(keys.stock, item.sku, item.location), 0, item.quantity, 0, 0, 0)
  end
  wish.state, wish.began, wish.expires, wish.ended = 'held', now_ms, now_ms + wish.ttl, 0
  write_hold(keys, wish)
  redis.call('ZADD', keys.hold_due, whole(wish.expires), wish.id)
  announce_hold(keys, wish, moves, ',"expires_ms":' .. whole(wish.expires))
  return { 'held', 'held', whole(wish.expires) }
end

-- Read, Refuse: every argument, before the first hold is written.
local wishes = {}
for at = 1, #ARGV, 6 do
  local wish = {
    id = ARGV[at], digest = ARGV[at + 1], ttl = integer(ARGV[at + 2]), channel = ARGV[at + 3], customer = ARGV[at + 4],
    order = '', reason = '', items = read_items(ARGV[at + 5]),
  }
  if not wish.ttl or not ARGV[at + 5] then
    return redis.error_reply('ERR flashd: hold wants six arguments a request, the time in digits')
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
