#!lua flags=allow-oom
-- clean -- Take SKUs out of a channel's dirty set, unless they became dirty again after they were seen.
-- KEYS[1] own_dirty ZSET dirty:<channel>
-- ARGV[1..] seen for each: SKU, since ms as it was seen
-- RETURNS how many were taken out
-- KEEPS a change after the seeing stays dirty
-- CLOCK none

-- Read, Refuse, Write, SKU by SKU.
local cleaned = 0
for at = 1, #ARGV, 2 do
  if redis.call('ZSCORE', KEYS[1], ARGV[at]) == ARGV[at + 1] .. '.5' then
    cleaned = cleaned + redis.call('ZREM', KEYS[1], ARGV[at])
  end
end
return cleaned
