-- What a channel must look at: ZSET dirty:<channel>, SKU -> since when (ms); half a ms more once its publisher has seen it.
-- What becomes dirty again after that is dirty since then.
local function touch_dirty(set, sku, since)
  local score = tonumber(redis.call('ZSCORE', set, sku) or nil)
  if not score or score % 1 ~= 0 then
    redis.call('ZADD', set, whole(since), sku)
  end
end
