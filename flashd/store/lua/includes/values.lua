-- Many values in one argument, as msgpack, one behind the other: they cost a fraction of as many arguments.
local AT_ONCE = 4500 -- the stack has no room for more than eight thousand

local function part_of(from, ...)
  return from, { ... }
end

local function read_values(text)
  local from, values = part_of(cmsgpack.unpack_limit(text, AT_ONCE, 0))
  while from >= 0 do
    local more
    from, more = part_of(cmsgpack.unpack_limit(text, AT_ONCE, from))
    for index = 1, #more do
      values[#values + 1] = more[index]
    end
  end
  return values
end
