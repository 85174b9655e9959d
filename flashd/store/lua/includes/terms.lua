-- A channel's terms, packed: "<split 0 or 1> <restocks 0 or 1> <mode>" and its locations, joined by 0x1f.
local terms_by_text = {}

local function read_terms(text)
  local terms = terms_by_text[text]
  if not terms then
    local split, restocks, mode, places = string.match(text, '^([01]) ([01]) (%a+)\031(.+)$')
    if not split then
      return nil
    end
    terms = { split = split == '1', restocks = restocks == '1', mode = mode, locations = {} }
    for location in string.gmatch(places, '[^\031]+') do
      terms.locations[#terms.locations + 1] = location
    end
    terms_by_text[text] = terms
  end
  return terms
end
