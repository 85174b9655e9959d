-- Whole numbers as text. tonumber alone would take 0x10, 1e3, " 5 " and nan; beyond 2^53 digits are lost.
local function in_digits(text)
  return type(text) == 'string' and #text <= 16 and string.find(text, '^%d+$')
end

local function integer(text)
  return in_digits(text) and tonumber(text) or nil
end

-- Most numbers of a call are few and small, and printf of a double is slow. -0 finds the text of 0.
local whole_texts = setmetatable({ [0] = '0', '1', '2', '3', '4', '5', '6', '7', '8', '9' }, {
  __index = function(known, number)
    local text = string.format(number % 1 == 0 and '%d' or '%.0f', number) -- the first is much the quicker
    known[number] = text
    return text
  end,
})

local function whole(number)
  return whole_texts[number]
end
