-- The journal is the truth, pub/sub only the wake-up: the same message in both. Needs clock.lua, integer.lua.
local pool, stamp_ms, stamp = nil, '', nil -- the same in most messages of one call
local ways = {} -- by kind: the pub/sub channel, and the envelope from kind to pool
local alone = false -- a script may learn that nobody can listen but at this very server: no replica, no Cluster

local function way_of(journal, kind)
  pool = pool or string.match(journal, '^fd:{([^}]*)}')
  local way = {
    to = 'fd:events:' .. pool .. ':' .. string.match(kind, '^%a+'), envelope = '","kind":"' .. kind .. '","pool":"' .. pool .. '"',
    unheard = false,
  }
  ways[kind] = way
  return way
end

-- *members* is JSON text of the message's own members, without the braces, or ''.
local function announce(journal, kind, members)
  local way = ways[kind] or way_of(journal, kind)
  local id = redis.call('XADD', journal, '*', 'k', kind, 'd', members)
  if way.unheard then
    return id
  end
  if stamp_ms == '' or string.find(id, stamp_ms, 1, true) ~= 1 then
    stamp_ms = string.match(id, '^%d+%-')
    stamp = '","at":"' .. rfc3339(tonumber(string.sub(stamp_ms, 1, -2)))
  end
  local heard = redis.call(
    'PUBLISH', way.to,
    '{"v":1,"id":"' .. id .. stamp .. way.envelope .. (members ~= '' and ',' or '') .. members .. '}'
  )
  way.unheard = alone and heard == 0 -- nobody subscribes while a script runs
  return id
end

local quoted_texts = {}

-- JSON text of a string: cjson escapes what JSON demands.
local function quoted(text)
  local found = quoted_texts[text]
  if not found then
    found = cjson.encode(text)
    quoted_texts[text] = found
  end
  return found
end

-- The same for an id, which a call says once or twice: not worth remembering.
local function quoted_id(text)
  local is_plain = string.find(text, '^%w*$') or not string.find(text, '[^%w_.#-]') -- the first is the quicker look
  return is_plain and '"' .. text .. '"' or cjson.encode(text)
end
