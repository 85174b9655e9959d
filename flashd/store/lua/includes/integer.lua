-- Whole numbers as text. tonumber alone would take 0x10, 1e3, " 5 " and nan; beyond 2^53 digits are lost.
local function integer(text)
  if type(text) ~= 'string' or #text > 16 or not string.find(text, '^%d+$') then
    return nil
  end
  return tonumber(text)
end

-- Adding 0 turns the -0 of a negated nothing into 0.
local function whole(number)
  if number == 0 then
    return '0'
  end
  return string.format('%.0f', number + 0)
end
