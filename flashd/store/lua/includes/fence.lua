-- The fence refuses a lower epoch than the highest one seen. Needs integer.lua.
local function is_stale(fence, epoch)
  return epoch < (integer(redis.call('GET', fence) or '0') or 0)
end

local function raise_fence(fence, epoch)
  if epoch > (integer(redis.call('GET', fence) or '0') or 0) then
    redis.call('SET', fence, whole(epoch))
  end
end
