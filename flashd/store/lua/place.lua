-- place -- Put entries into a channel's map, in place of former ones of the same SKU.
-- KEYS[1] map HASH map:<channel>
-- KEYS[2] own_dirty ZSET dirty:<channel>
-- KEYS[3] journal STREAM j
-- ARGV[1] channel whose map it is
-- ARGV[2] by whom
-- ARGV[3..] entries for each: SKU, entry (JSON)
-- RETURNS how many changed
-- KEEPS one entry a SKU; what changed is dirty
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal
-- @include dirty

-- Read, Refuse.
if #ARGV % 2 ~= 0 then
  return redis.error_reply('ERR flashd: place wants two arguments an entry')
end

-- Write.
local changed = 0
for at = 3, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[at]) ~= ARGV[at + 1] then
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
    touch_dirty(KEYS[2], ARGV[at], now_ms)
    changed = changed + 1
  end
end
if changed > 0 then
  announce(
    KEYS[3], 'channel.mapped', '"channel":' .. quoted(ARGV[1]) .. ',"by":' .. quoted(ARGV[2]) .. ',"entries":' .. whole(changed)
  )
end
return changed
