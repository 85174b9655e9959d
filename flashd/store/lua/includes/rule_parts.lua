-- Text taken apart at a separator, and the rules of a SKU: they stand in the HASH rule, joined by 0x1e, their parts by 0x1f.
local function parts_of(packed, separator)
  local parts = {}
  for text in string.gmatch(packed .. separator, '([^' .. separator .. ']*)' .. separator) do
    parts[#parts + 1] = text
  end
  return parts
end

-- A SKU's rules as a list of part lists; part 1 is the sale's name, 3 and 4 its window.
local function rules_of(rules, sku)
  local list = {}
  for _, text in ipairs(parts_of(redis.call('HGET', rules, sku) or '', '\030')) do
    if text ~= '' then
      list[#list + 1] = parts_of(text, '\031')
    end
  end
  return list
end
