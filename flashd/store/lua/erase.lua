#!lua flags=allow-oom
-- erase -- Forget the customers of settled orders: what is left are SKUs, amounts and the tombstone.
-- KEYS[1] forget ZSET orders to be looked at again
-- KEYS[2] journal STREAM the pool's journal
-- KEYS[3..] records HASH for each order its record, its cancel and its amend
-- ARGV[1] by who asks
-- ARGV[2] soon_ms when an order is looked at again that is not settled; 0: whoever asks comes back by himself
-- ARGV[3] later_ms when one is that was erased: what follows it may bring data anew; 0 as above
-- ARGV[4..] contents for each record: SHA-1 of the canonical order as it was read, and the one to write; '' and '' for none
-- RETURNS per order `erased`, `clean` (it held nothing any more), `open` (not settled), `again` (it has changed) or `gone`
-- KEEPS head, items, uses and digest stay, so the order stays known, counted and billed; an order is erased as a whole
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include record

-- Read, Refuse: the arguments.
local forget, journal, by = KEYS[1], KEYS[2], ARGV[1]
local soon_ms, later_ms = integer(ARGV[2]), integer(ARGV[3])
if not soon_ms or not later_ms or #ARGV - 3 ~= 2 * (#KEYS - 2) or (#KEYS - 2) % 3 ~= 0 then
  return redis.error_reply('ERR flashd: erase wants whole numbers, and two contents for each record')
end
local OVER = { delivered = true, cancelled = true, ignored = true }

local function look_again(member, wait_ms)
  if wait_ms > 0 then
    redis.call('ZADD', forget, whole(now_ms + wait_ms), member)
  end
end

-- What people wrote: reasons in the timeline, behind the colon.
local function bare(timeline)
  return (string.gsub(timeline, '(%d+ [^\n:]*)[^\n]*', '%1'))
end

local function read_one(key, at)
  local head = read_head(key)
  local kept = redis.call('HMGET', key, 'o', 'b', 'x', 't')
  local content = kept[1] or ''
  local one = {
    key = key, head = head, content = ARGV[at + 1], timeline = bare(kept[4] or ''),
    open = head and (not OVER[head.state] or redis.call('HEXISTS', key, 'n') == 1),
    moved = (content ~= '' and redis.sha1hex(content) or '') ~= ARGV[at],
  }
  one.holds = (one.content ~= '' and one.content ~= content) or kept[2] or (kept[3] or '') ~= ''
    or one.timeline ~= (kept[4] or '')
  return one
end

local function erase(first)
  -- Read
  local records, open, moved, holds, whole_head = {}, false, false, false, nil
  for index = first, first + 2 do
    local one = read_one(KEYS[index], 4 + (index - 3) * 2)
    open, moved, holds = open or one.open, moved or one.moved, holds or (one.head and one.holds)
    whole_head = whole_head or (index == first and one.head)
    records[#records + 1] = one
  end
  local member = member_of(KEYS[first])

  -- Refuse
  if not whole_head then
    redis.call('ZREM', forget, member)
    return 'gone'
  elseif open then
    look_again(member, soon_ms)
    return 'open'
  elseif moved then
    return 'again'
  elseif not holds and whole_head.erased then
    look_again(member, later_ms)
    return 'clean'
  end

  -- Write
  for _, one in ipairs(records) do
    if one.head then
      one.head.erased = true
      redis.call('HSET', one.key, 's', pack_head(one.head), 't', one.timeline)
      if one.content ~= '' then
        redis.call('HSET', one.key, 'o', one.content)
      end
      redis.call('HDEL', one.key, 'b', 'x')
    end
  end
  remember(KEYS[first], 'erased (by ' .. by .. ')')
  look_again(member, later_ms)
  local channel, id = string.match(member, '^([^:]*):(.*)$')
  announce(journal, 'order.erased', '"order":{"channel":' .. quoted(channel) .. ',"id":' .. quoted(id) .. '},"by":' .. quoted(by))
  return 'erased'
end

local replies = {}
for first = 3, #KEYS, 3 do
  replies[#replies + 1] = erase(first)
end
return replies
