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
-- ARGV[1] groups how many there are of what is alike for many requests
-- ARGV[2..] requests first for each group: ttl_ms, channel, terms; then for each request: its group (from 1), id, digest,
--   customer, items, thresholds
-- RETURNS per request {code, state, deadline ms, SKU, units left ...}: `held`, `repeat`, `conflict`, `short`, `unknown_sku`,
--   {`closed`, .., sale, start ms, end ms, SKU}, {`limit`, .., sale, what the customer has, may have, SKU}, or `again` (nothing written: overdue holds are left to sweep)
-- KEEPS on hand = atp + held + sold + safety, none below zero; refusals are not stored
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include stock
-- @include terms
-- @include threshold

-- A function around functions: what they take from outside is found once, which for so many costs half of making them.
local prepare_group, hold_usual, write_gathered = (function()
-- @include rule_parts
-- @include rules
-- @include filing
-- @include usual_wish
-- @include usual_uses
-- @include usual_hold
  return prepare_group, hold_usual, write_gathered
end)()

local keys = {
  stock = KEYS[1], hold = KEYS[2], hold_due = KEYS[3], hold_end = KEYS[4], journal = KEYS[5], dirty = KEYS[6], use = KEYS[7],
  kit = KEYS[8], rule = KEYS[9],
}

-- Read.
local groups, at = {}, 2
for index = 1, integer(ARGV[1]) or 0 do
  groups[whole(index)] = { ttl = integer(ARGV[at]), channel = ARGV[at + 1], terms = read_terms(ARGV[at + 2] or '') }
  at = at + 3
end
local requests_at = at

-- Refuse: every argument, before the first hold is written.
for index = requests_at, #ARGV, 6 do
  local group = groups[ARGV[index]]
  if not (group and group.ttl and group.terms and ARGV[index + 5]) then
    return redis.error_reply('ERR flashd: hold wants six arguments a request, the time in digits')
  end
end

-- Write, hold by hold.
for _, group in pairs(groups) do
  prepare_group(group)
end
local replies, hold_one = {}, nil
for index = requests_at, #ARGV, 6 do
  local group = groups[ARGV[index]]
  local request = {
    id = ARGV[index + 1], digest = ARGV[index + 2], customer = ARGV[index + 3], items = ARGV[index + 4],
    thresholds = ARGV[index + 5],
  }
  local reply = hold_usual(keys, group, request)
  if not reply and not hold_one then -- eighty functions, made only where one of them is wanted
    hold_one = (function()
-- @include record
-- @include rule_parts
-- @include rules
-- @include kit
-- @include uses
-- @include allowance
-- @include units
-- @include pick
-- @include reservation
-- @include hold_one
      return hold_one
    end)()
  end
  if not reply then
    write_gathered(keys)
    request.ttl, request.channel, request.terms, request.order, request.reason = group.ttl, group.channel, group.terms, '', ''
    reply = hold_one(request)
  end
  replies[#replies + 1] = reply
end
write_gathered(keys)
write_levels(keys.stock, keys.journal, keys.dirty)
return replies
