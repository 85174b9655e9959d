-- The id that the journal gave out last, also when its entries were trimmed since; '' before the first.
local function last_id(journal)
  if redis.call('EXISTS', journal) == 0 then
    return ''
  end
  local info = redis.call('XINFO', 'STREAM', journal)
  for index = 1, #info, 2 do
    if info[index] == 'last-generated-id' then
      return info[index + 1]
    end
  end
  return ''
end
