-- read_next -- Tell the bodies of versions that wait for an outcome: only scripts can read how they are kept.
-- KEYS[1..] records HASH of which something waits, or did
-- RETURNS per record {canonical order, raw body}, as they are packed; '' for none
-- KEEPS everything as it is
-- CLOCK none

-- Read.
local replies = {}
for index = 1, #KEYS do
  local packed = redis.call('HGET', KEYS[index], 'n')
  local entry = packed and cmsgpack.unpack(packed) or {}
  replies[index] = { entry.content or '', entry.raw or '' }
end
return replies
