#!lua flags=allow-oom
-- survey -- Return what a channel must look at, longest dirty first, and remember that it was seen.
-- KEYS[1] own_dirty ZSET dirty:<channel>
-- ARGV[1] limit how many at most
-- RETURNS {SKU, since ms ...}
-- KEEPS nothing leaves the set; what becomes dirty again from now on is dirty since then
-- CLOCK none

-- @include integer

-- Read.
local limit = integer(ARGV[1])

-- Refuse.
if not limit then
  return redis.error_reply('ERR flashd: survey wants a whole number')
end

-- Write.
local found, replies = redis.call('ZRANGE', KEYS[1], 0, limit - 1, 'WITHSCORES'), {}
for index = 1, #found, 2 do
  local since = math.floor(tonumber(found[index + 1]))
  redis.call('ZADD', KEYS[1], whole(since) .. '.5', found[index])
  replies[#replies + 1] = found[index]
  replies[#replies + 1] = whole(since)
end
return replies
