-- Members that enter and leave indexes, gathered: one ZADD or ZREM for many of a call. Whoever reads an index first, or moves
-- one of its members, has it written before.
local filed = { ZADD = {}, ZREM = {} }

local function write_filed()
  for verb, lists in pairs(filed) do
    for index, list in pairs(lists) do
      redis.call(verb, index, unpack(list))
      lists[index] = nil
    end
  end
end

local function list_for(verb, index)
  local list = filed[verb][index]
  if not list or #list >= 1000 then
    if list then
      redis.call(verb, index, unpack(list))
    end
    list = {}
    filed[verb][index] = list
  end
  return list
end

local function file(index, score, member)
  local list = list_for('ZADD', index)
  local size = #list
  list[size + 1], list[size + 2] = score, member
end

local function take_out(index, member)
  local list = list_for('ZREM', index)
  list[#list + 1] = member
end

-- What record.lua's move does, gathered. Needs record.lua.
local function file_move(keys, member, old_state, old_backend, head, score)
  local from, to = index_of(keys, old_state, old_backend), index_of(keys, head.state, head.backend)
  if from ~= to then
    take_out(from, member)
  end
  file(to, whole(score), member)
end
