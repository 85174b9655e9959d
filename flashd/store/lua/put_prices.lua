-- put_prices -- Put rows of pushed prices in place of those that must still be there.
-- KEYS[1] price HASH price:<channel>
-- ARGV[1..] rows for each: field, the row that must stand there or '' for none, the new row
-- RETURNS for each row `put` (also where it stands there already) or `stale`
-- KEEPS a pre-image is never overwritten by whoever does not know it
-- CLOCK none

local replies = {}
for at = 1, #ARGV, 3 do
  -- Read.
  local stands = redis.call('HGET', KEYS[1], ARGV[at]) or ''

  -- Refuse.
  if stands ~= ARGV[at + 1] and stands ~= ARGV[at + 2] then
    replies[#replies + 1] = 'stale'
  else
    -- Write.
    if stands ~= ARGV[at + 2] then
      redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 2])
    end
    replies[#replies + 1] = 'put'
  end
end
return replies
