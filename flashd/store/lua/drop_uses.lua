#!lua flags=allow-oom
-- drop_uses -- Forget what purged orders of a customer count for, in sales that are over.
-- KEYS[1] use HASH what counts against quotas and limits
-- KEYS[2] checkpoint HASH also what purged orders count for
-- ARGV[1..] fields of the HASH use, each of one customer
-- RETURNS per field `dropped`, or `kept` (a hold or an order that is still there counts for it, too)
-- KEEPS use = what holds and orders carry + what is noted as purged
-- CLOCK none

-- Read, Refuse, Write: each field on its own.
local replies = {}
for index = 1, #ARGV do
  local purged = redis.call('HGET', KEYS[2], '\028' .. ARGV[index])
  if purged and purged == redis.call('HGET', KEYS[1], ARGV[index]) then
    redis.call('HDEL', KEYS[1], ARGV[index])
    redis.call('HDEL', KEYS[2], '\028' .. ARGV[index])
    replies[index] = 'dropped'
  else
    replies[index] = 'kept'
  end
end
return replies
