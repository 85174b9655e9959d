-- The journal is the truth, pub/sub only the wake-up: the same message in both. Needs clock.lua, integer.lua.
local pool, stamp_ms, stamp = nil, '', nil -- the same in most messages of one call
local ways = {} -- by kind: the pub/sub channel, and the envelope from kind to pool
local patience = 4 -- asking who else may listen costs as much as three messages; whoever has many to say asks after one
local alone = nil -- whether nobody can listen but at this very server, asked once a call

local function way_of(journal, kind)
  pool = pool or string.match(journal, '^fd:{([^}]*)}')
  local way = {
    to = 'fd:events:' .. pool .. ':' .. string.match(kind, '^%a+'), envelope = '","kind":"' .. kind .. '","pool":"' .. pool .. '"',
    unheard = 0,
  }
  ways[kind] = way
  return way
end

-- Whether all who may listen are counted by PUBLISH: there is no Cluster, and no replica, nor was there one within the hour.
local function is_alone()
  local told = redis.pcall('INFO', 'replication', 'cluster')
  return type(told) == 'string' and string.find(told, 'repl_backlog_active:0', 1, true) ~= nil
    and string.find(told, 'cluster_enabled:0', 1, true) ~= nil
end

-- What nobody hears is said a few times and then left, for nobody subscribes while a script runs; the journal has all.
-- *members* is JSON text of the message's own members, without the braces, or ''.
local function announce(journal, kind, members)
  local way = ways[kind] or way_of(journal, kind)
  local id = redis.call('XADD', journal, '*', 'k', kind, 'd', members)
  if way.unheard >= patience then
    if alone == nil then
      alone = is_alone()
    end
    if alone then
      return id
    end
  end
  if stamp_ms == '' or string.find(id, stamp_ms, 1, true) ~= 1 then
    stamp_ms = string.match(id, '^%d+%-')
    stamp = '","at":"' .. rfc3339(tonumber(string.sub(stamp_ms, 1, -2)))
  end
  local heard = redis.call(
    'PUBLISH', way.to,
    '{"v":1,"id":"' .. id .. stamp .. way.envelope .. (members ~= '' and ',' or '') .. members .. '}'
  )
  way.unheard = heard == 0 and way.unheard + 1 or 0
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
