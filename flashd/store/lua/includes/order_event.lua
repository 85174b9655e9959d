-- What the journal says of one outbox item. Needs journal.lua, record.lua.
-- *moves* are the texts that shift returned: every change of counters stands in exactly one event.
local function announce_order(journal, kind, member, head, reason, moves, more)
  local channel, id, follow_up = string.match(member, '^([^:]*):([^\031]*)\031?(.*)$')
  local text = '"order":{"channel":' .. quoted(channel) .. ',"id":' .. quoted(id) .. '},"state":"' .. head.state
    .. '","backend":' .. quoted(head.backend) .. ',"version":' .. whole(head.version)
  if follow_up ~= '' then
    text = text .. ',"follow_up":"' .. follow_up .. '"'
  end
  if reason and reason ~= '' then
    text = text .. ',"reason":' .. quoted(reason)
  end
  if moves and #moves > 0 then
    text = text .. ',"moves":[' .. table.concat(moves, ',') .. ']'
  end
  return announce(journal, kind, text .. (more or ''))
end
