-- One outbox item: HASH with s (head, packed), i (items), o (canonical order), b (raw body), n (a newer version that
-- waits, cmsgpack), t (timeline, "ms text" lines), x (reason), r (backend's own id), h (hold id), w (what it claims, see owing.lua),
-- d (delivered ms), p (shipped ms), k (kits among the items, see kit.lua), u (what it
-- counts for, see uses.lua).
-- Needs integer.lua, clock.lua.
local HEAD = '^(%S+) (%d+) (%S+) (%S+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%S+)$'

-- The member of every index is the key's text behind ":ord:".
local function member_of(key)
  return string.match(key, '^fd:{[^}]*}:ord:(.*)$')
end

-- Fields of a record are read and written one by one, but those of a staged one all at once: a new one has none before, of an
-- old one *names* are read, and no others are asked for until write_staged.
local staged = nil

local function stage(key, names)
  staged = { key = key, is_new = not names, found = {}, changes = {} } -- in both false stands for a field that is not there
  for index, value in ipairs(names and redis.call('HMGET', key, unpack(names)) or {}) do
    staged.found[names[index]] = value
  end
end

local function is_staged(key)
  return staged and staged.key == key
end

local function write_field(key, field, value)
  if is_staged(key) then
    staged.changes[field] = value
  else
    redis.call('HSET', key, field, value)
  end
end

local function read_field(key, field)
  if not is_staged(key) then
    return redis.call('HGET', key, field)
  elseif staged.changes[field] ~= nil then
    return staged.changes[field]
  end
  return staged.found[field]
end

local function drop_field(key, field)
  if not is_staged(key) then
    redis.call('HDEL', key, field)
  elseif staged.is_new or staged.found[field] == false then
    staged.changes[field] = nil
  else
    staged.changes[field] = false
  end
end

local function write_staged()
  local written, dropped = { 'HSET', staged.key }, { 'HDEL', staged.key }
  for field, value in pairs(staged.changes) do
    local command = value and written or dropped
    command[#command + 1] = field
    command[#command + 1] = value or nil
  end
  staged = nil
  for _, command in ipairs({ written, dropped }) do
    if #command > 2 then
      redis.call(unpack(command))
    end
  end
end

local function has_flag(flags, flag)
  return flags ~= '-' and string.find(flags, flag, 1, true) ~= nil
end

-- Returns the head as a table, or nil where there is no such record.
local function read_head(key)
  local packed = read_field(key, 's')
  if not packed then
    return nil
  end
  local state, version, digest, kind, backend, sends, refusals, epoch, revision, absences, accepted, changed, flags =
    string.match(packed, HEAD)
  local accepted_ms = tonumber(accepted)
  whole_texts[accepted_ms] = accepted -- it is written as it was read
  return {
    state = state, version = tonumber(version), digest = digest, kind = kind, backend = backend ~= '-' and backend or '',
    sends = tonumber(sends), refusals = tonumber(refusals), epoch = tonumber(epoch), revision = tonumber(revision),
    absences = tonumber(absences), accepted = accepted_ms, changed = tonumber(changed),
    released = has_flag(flags, 'r'), final = has_flag(flags, 'f'), waits = has_flag(flags, 'w'), revoked = has_flag(flags, 'v'),
    erased = has_flag(flags, 'e'),
  }
end

local function pack_head(head)
  local flags = (head.released and 'r' or '') .. (head.final and 'f' or '') .. (head.waits and 'w' or '')
    .. (head.revoked and 'v' or '') .. (head.erased and 'e' or '')
  return table.concat({
    head.state, whole(head.version), head.digest, head.kind, head.backend ~= '' and head.backend or '-', whole(head.sends),
    whole(head.refusals), whole(head.epoch), whole(head.revision), whole(head.absences), whole(head.accepted),
    whole(head.changed), flags ~= '' and flags or '-',
  }, ' ')
end

-- Items "<sku> 0x1f <location> 0x1f <quantity> 0x1f <taken>", joined by 0x1e; with 0x1f <counted> behind where a count
-- took units out of sold that it lacks: those the order still has, and they never go back to stock.
local ITEM = '([^\030\031]*)\031([^\031]*)\031(%d+)\031(%d+)\031?(%d*)'

local function read_items(packed)
  local items = {}
  for sku, location, quantity, taken, counted in string.gmatch(packed or '', ITEM) do
    items[#items + 1] = {
      sku = sku, location = location, quantity = tonumber(quantity), taken = tonumber(taken), counted = tonumber(counted) or 0,
    }
  end
  return items
end

local function pack_items(items)
  local packed = {}
  for index, item in ipairs(items) do
    packed[index] = item.sku .. '\031' .. item.location .. '\031' .. whole(item.quantity) .. '\031' .. whole(item.taken)
      .. ((item.counted or 0) > 0 and '\031' .. whole(item.counted) or '')
  end
  return table.concat(packed, '\030')
end

-- Which index a state stands in; *keys* maps wait, desk, dead, done to keys, and q and fl to tables by backend.
local INDEX = {
  waiting = 'wait', queued = 'q', sending = 'fl', in_doubt = 'fl', dead = 'dead', manual = 'desk', parked = 'desk',
  shortfall = 'desk', backorder = 'backorder', delivered = 'done', cancelled = 'done', ignored = 'done',
}

local function index_of(keys, state, backend)
  local index = keys[INDEX[state]]
  if type(index) == 'table' then
    return index[backend]
  end
  return index
end

-- Moves an item from the index of its old state to that of its new one: always in exactly one.
local function move(keys, member, old_state, old_backend, head, score)
  local from = old_state and index_of(keys, old_state, old_backend)
  local to = index_of(keys, head.state, head.backend)
  if from and from ~= to then
    redis.call('ZREM', from, member)
  end
  redis.call('ZADD', to, whole(score), member)
end

-- Adds a line to the timeline; one that grew beyond 8 kB loses its older half, behind its first line.
local function remember(key, text)
  local old = read_field(key, 't') or ''
  if #old > 8192 then
    old = (string.match(old, '^[^\n]*\n') or '') .. (string.match(old, '\n(.*)$', 4096) or '')
  end
  write_field(key, 't', old .. whole(now_ms) .. ' ' .. text .. '\n')
end
