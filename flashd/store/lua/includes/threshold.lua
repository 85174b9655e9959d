-- What a channel may show of what there is. flashd/domain/publication.py is the specification.
-- Thresholds "<percent> <buffer> <floor> <cap>", one for each SKU of a hold, joined by 0x1e; '' where all is shown.
local function read_thresholds(packed)
  local thresholds = {}
  for percent, buffer, floor, cap in string.gmatch(packed or '', '(%d+) (%d+) (%d+) (%d+)') do
    thresholds[#thresholds + 1] = {
      percent = tonumber(percent), buffer = tonumber(buffer), floor = tonumber(floor), cap = tonumber(cap),
    }
  end
  return thresholds
end

local function shown(units, threshold)
  if not threshold then
    return units
  end
  local there = math.max(0, units) -- in two steps, since a hundred times fifteen digits are too many
  local left = math.floor(there / 100) * threshold.percent + math.floor(there % 100 * threshold.percent / 100)
  left = left - threshold.buffer
  if left <= threshold.floor then
    return 0
  end
  return threshold.cap > 0 and math.min(left, threshold.cap) or left
end
