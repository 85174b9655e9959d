-- The journal is the truth, pub/sub only the wake-up: the same message in both. Needs clock.lua, integer.lua.
local pool, stamp_ms, stamp = nil, nil, nil -- the same in most messages of one call

-- *members* is JSON text of the message's own members, without the braces, or ''.
local function announce(journal, kind, members)
  pool = pool or string.match(journal, '^fd:{([^}]*)}')
  local id = redis.call('XADD', journal, '*', 'k', kind, 'd', members)
  local ms = string.match(id, '^%d+')
  if ms ~= stamp_ms then
    stamp_ms, stamp = ms, rfc3339(tonumber(ms))
  end
  local message = '{"v":1,"id":"' .. id .. '","at":"' .. stamp .. '","kind":"' .. kind .. '","pool":"' .. pool .. '"'
  if members ~= '' then
    message = message .. ',' .. members
  end
  redis.call('PUBLISH', 'fd:events:' .. pool .. ':' .. string.match(kind, '^%a+'), message .. '}')
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
