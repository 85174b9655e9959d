-- register -- Remember the backends that a pool's orders were ever routed to, and name them all.
-- KEYS[1] meta HASH schema, generation, created_ms, backends
-- ARGV[1..] backends names to add
-- RETURNS every backend ever registered, separated by blanks, in the order of their first use
-- KEEPS a backend that was used once is never forgotten: its queues may hold orders
-- CLOCK none

-- Read
local known = redis.call('HGET', KEYS[1], 'backends') or ''
local seen = {}
for name in string.gmatch(known, '%S+') do
  seen[name] = true
end

-- Refuse: there is nothing to refuse.

-- Write
local all = known
for index = 1, #ARGV do
  local name = ARGV[index]
  if not seen[name] then
    seen[name] = true
    all = all == '' and name or all .. ' ' .. name
  end
end
if all ~= known then
  redis.call('HSET', KEYS[1], 'backends', all)
end
return all
