-- What the journal says of one outbox item. Needs journal.lua.
local function name_order(member)
  local channel, id = string.match(member, '^([^:]*):([^\031]*)')
  return '"order":{"channel":' .. quoted(channel) .. ',"id":' .. quoted(id) .. '}'
end

-- *moves* are the texts that shift returned: every change of counters stands in exactly one event. *more* begins with a
-- comma or is nil.
local function announce_order(journal, kind, member, head, reason, moves, more)
  local text = name_order(member) .. ',"item":"' .. head.kind .. '","state":"' .. head.state
    .. '","backend":' .. quoted(head.backend) .. ',"version":' .. whole(head.version)
  if reason and reason ~= '' then
    text = text .. ',"reason":' .. quoted(reason)
  end
  if moves and #moves > 0 then
    text = text .. ',"moves":[' .. table.concat(moves, ',') .. ']'
  end
  return announce(journal, kind, text .. (more or ''))
end
