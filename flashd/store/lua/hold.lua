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
-- @include sale
-- @include stock
-- @include rules
-- @include terms
-- @include threshold
-- @include filing
-- @include usual_wish
-- @include usual_uses
-- @include usual_hold

local keys = {
  stock = KEYS[1], hold = KEYS[2], hold_due = KEYS[3], hold_end = KEYS[4], journal = KEYS[5], dirty = KEYS[6], use = KEYS[7],
  kit = KEYS[8], rule = KEYS[9],
}

-- Every other hold: functions that are made only where one of them is wanted.
local function learn_unusual()
-- @include record
-- @include kit
-- @include uses
-- @include allowance
-- @include units
-- @include pick
-- @include reservation
-- @include hold_one
  return hold_one
end

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

local hold_one

-- What was gathered is written before anything reads it, and at the end.
local function write_gathered()
  write_filed()
  write_counted(keys)
end

local function hold_unusual(group, request)
  hold_one = hold_one or learn_unusual()
  write_gathered()
  request.ttl, request.channel, request.terms, request.order, request.reason = group.ttl, group.channel, group.terms, '', ''
  return hold_one(request)
end

-- Write, hold by hold.
for _, group in pairs(groups) do
  prepare_group(group)
end
local replies = {}
for index = requests_at, #ARGV, 6 do
  local group = groups[ARGV[index]]
  local request = {
    id = ARGV[index + 1], digest = ARGV[index + 2], customer = ARGV[index + 3], items = ARGV[index + 4],
    thresholds = ARGV[index + 5],
  }
  replies[#replies + 1] = hold_usual(keys, group, request) or hold_unusual(group, request)
end
write_gathered()
write_levels(keys.stock, keys.journal, keys.dirty)
return replies
