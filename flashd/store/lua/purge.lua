#!lua flags=allow-oom
-- purge -- Let orders go that were settled long ago, each with what followed it.
-- KEYS[1] done ZSET delivered, cancelled, ignored
-- KEYS[2] checkpoint HASH upto, and the tallies of all that was trimmed; their units are noted here
-- KEYS[3] journal STREAM the pool's journal
-- KEYS[4] countable ZSET delivered orders whose units a count may lack
-- KEYS[5..] records HASH for each order its record, its cancel and its amend
-- ARGV[1] retention_ms how long an order stays after it was settled
-- RETURNS per order: `purged`, `kept` (not settled, or not long enough), `gone` (there is no such record)
-- KEEPS sold = units taken by the records + units noted as purged
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record
-- @include filing
-- @include stock
-- @include countable

-- Read, Refuse: the argument.
local done, checkpoint, journal = KEYS[1], KEYS[2], KEYS[3]
local retention = integer(ARGV[1])
if not retention then
  return redis.error_reply('ERR flashd: purge wants a whole number')
end

local function purge(family)
  -- Read
  local base = read_head(family[1])
  local kept = false
  for _, key in ipairs(family) do
    local head = read_head(key)
    if head then
      local since = redis.call('ZSCORE', done, member_of(key))
      local old = since and tonumber(since) <= now_ms - retention
      kept = kept or not old or redis.call('HEXISTS', key, 'n') == 1
    end
  end

  -- Refuse
  if not base then
    return 'gone'
  elseif kept then
    return 'kept'
  end

  -- Write
  for _, key in ipairs(family) do
    for _, item in ipairs(read_items(redis.call('HGET', key, 'i'))) do
      file_countable(KEYS[4], nil, item.sku, item.location, member_of(family[1]))
      if item.taken > 0 then
        redis.call('HINCRBY', checkpoint, '\029' .. item.sku .. '\031' .. item.location, whole(item.taken))
      end
    end
    for field, units in string.gmatch(redis.call('HGET', key, 'u') or '', '([^\030]+)\030(%d+)') do
      redis.call('HINCRBY', checkpoint, '\028' .. field, units)
    end
    redis.call('DEL', key)
    redis.call('ZREM', done, member_of(key))
  end
  local channel, id = string.match(member_of(family[1]), '^([^:]*):(.*)$')
  announce(journal, 'order.purged', '"order":{"channel":' .. quoted(channel) .. ',"id":' .. quoted(id) .. '}')
  return 'purged'
end

local replies = {}
for index = 5, #KEYS, 3 do
  replies[#replies + 1] = purge({ KEYS[index], KEYS[index + 1], KEYS[index + 2] })
end
return replies
