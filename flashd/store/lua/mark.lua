-- mark -- Make SKUs dirty for one channel.
-- KEYS[1] own_dirty ZSET dirty:<channel>
-- ARGV[1..] skus that it must look at
-- RETURNS how many
-- KEEPS what was dirty before keeps its instant
-- CLOCK server

-- @include integer
-- @include clock
-- @include dirty

-- Read, Refuse: there is nothing to refuse.

-- Write.
for index = 1, #ARGV do
  touch_dirty(KEYS[1], ARGV[index], now_ms)
end
return #ARGV
