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
-- ARGV[2..] requests first for each group: ttl_ms, channel, terms; then for each request the number of its group, id, digest,
--   customer, items, thresholds, as msgpack
-- RETURNS per request {code, state, deadline ms, SKU, units left ...}: `held`, `repeat`, `conflict`, `short`, `unknown_sku`,
--   {`closed`, .., sale, start ms, end ms, SKU}, {`limit`, .., sale, what the customer has, may have, SKU}, or `again` (nothing written: overdue holds are left to sweep);
--   or, of a hold that is as most are, its deadline alone
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
-- @include know_sales
-- @include filing
-- @include usual_wish
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
  groups[index] = { ttl = integer(ARGV[at]), channel = ARGV[at + 1], terms = read_terms(ARGV[at + 2] or '') }
  at = at + 3
end
local requests = {}
for index = at, #ARGV do
  requests[#requests + 1] = { cmsgpack.unpack(ARGV[index]) } -- one argument of six values costs half of six arguments
end

-- Refuse: every argument, before the first hold is written.
for index = 1, #requests do
  local group = groups[requests[index][1]]
  if not (group and group.ttl and group.terms and requests[index][6]) then
    return redis.error_reply('ERR flashd: hold wants six values a request, the time in digits')
  end
end

-- Write, hold by hold.
for index = 1, #groups do
  prepare_group(groups[index])
end
local replies, hold_one = {}, nil
patience = #requests > patience and 1 or patience
for index = 1, #requests do
  local request = requests[index]
  local group = groups[request[1]]
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
    reply = hold_one({
      id = request[2], digest = request[3], customer = request[4], items = request[5], thresholds = request[6], ttl = group.ttl,
      channel = group.channel, terms = group.terms, order = '', reason = '',
    })
  end
  replies[index] = reply
end
write_gathered(keys)
write_levels(keys.stock, keys.journal, keys.dirty)
return replies
