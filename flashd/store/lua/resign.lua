#!lua flags=allow-oom
-- resign -- Give the leadership of a backend up, if it is the caller's.
-- KEYS[1] lease STRING `<until ms> <owner>`
-- ARGV[1] owner who leaves
-- RETURNS `resigned`, or `not_ours`
-- KEEPS another's lease untouched, and the epoch
-- CLOCK none

-- Read.
local owner = string.match(redis.call('GET', KEYS[1]) or '', '^%d+ (.*)$')

-- Refuse.
if owner ~= ARGV[1] then
  return 'not_ours'
end

-- Write.
redis.call('DEL', KEYS[1])
return 'resigned'
