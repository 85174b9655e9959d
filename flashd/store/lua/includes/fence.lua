-- The fence refuses a lower epoch than the highest one seen. Needs integer.lua.
local function is_stale(fence, epoch)
  return epoch < (integer(redis.call('GET', fence) or '0') or 0)
end

local function raise_fence(fence, epoch)
  if epoch > (integer(redis.call('GET', fence) or '0') or 0) then
    redis.call('SET', fence, whole(epoch))
  end
end

-- JSON members of what an order event says; *more* begins with a comma or is ''.
local function order_members(member, head, reason, backend_ref, more)
  local channel, id = string.match(member, '^([^:]*):([^\031]*)')
  return '"order":' .. quoted(channel .. ':' .. id) .. ',"item":' .. quoted(head.kind) .. ',"backend":'
    .. quoted(head.backend) .. ',"reason":' .. quoted(reason) .. ',"backend_ref":' .. quoted(backend_ref)
    .. ',"sends":' .. whole(head.sends) .. more
end
