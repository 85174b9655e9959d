-- Members that enter and leave indexes, gathered: one ZADD or ZREM for many of a call. Whoever reads an index first, or moves
-- one of its members, has it written before.
local filed, taken_out = {}, {}

local function write_listed(verb, lists)
  for index, list in pairs(lists) do
    redis.call(verb, index, unpack(list))
    lists[index] = nil
  end
end

local function write_filed()
  write_listed('ZADD', filed)
  write_listed('ZREM', taken_out)
end

local function file(index, score, member)
  local list = filed[index] or {}
  local size = #list
  list[size + 1], list[size + 2] = score, member
  filed[index] = list
  if size >= 998 then
    write_listed('ZADD', filed)
  end
end

local function take_out(index, member)
  local list = taken_out[index] or {}
  list[#list + 1] = member
  taken_out[index] = list
  if #list >= 1000 then
    write_listed('ZREM', taken_out)
  end
end

-- What record.lua's move does, gathered. Needs record.lua.
local function file_move(keys, member, old_state, old_backend, head, score)
  local from, to = index_of(keys, old_state, old_backend), index_of(keys, head.state, head.backend)
  if from ~= to then
    take_out(from, member)
  end
  file(to, whole(score), member)
end
