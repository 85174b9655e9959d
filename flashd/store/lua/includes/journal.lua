-- The journal is the truth, pub/sub only the wake-up: the same message in both. Needs clock.lua, integer.lua.
-- *members* is JSON text of the message's own members, without the braces, or ''.
local function announce(journal, kind, members)
  local pool = string.match(journal, '^fd:{([^}]*)}')
  local id = redis.call('XADD', journal, '*', 'k', kind, 'd', members)
  local message = '{"v":1,"id":"' .. id .. '","at":"' .. rfc3339(tonumber(string.match(id, '^%d+')))
    .. '","kind":"' .. kind .. '","pool":"' .. pool .. '"'
  if members ~= '' then
    message = message .. ',' .. members
  end
  redis.call('PUBLISH', 'fd:events:' .. pool .. ':' .. string.match(kind, '^%a+'), message .. '}')
  return id
end

-- JSON text of a string: cjson escapes what JSON demands.
local function quoted(text)
  return cjson.encode(text)
end
