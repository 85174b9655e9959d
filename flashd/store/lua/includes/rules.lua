-- The rules that sales make for a SKU, and how it stands by them on a channel at an instant. flashd/domain/allowance.py is the
-- specification. *keys* has rule. Needs rule_parts.lua.
local rules_there, rules_by_sku = nil, {}

-- Whether a pool has rules at all is asked once a call.
local function has_rules(keys)
  if rules_there == nil then
    rules_there = redis.call('HLEN', keys.rule) > 0
  end
  return rules_there
end

local function rules_for(keys, sku)
  if has_rules(keys) and not rules_by_sku[sku] then
    local list = {}
    for index, part in ipairs(rules_of(keys.rule, sku)) do
      list[index] = {
        sale = part[1], state = part[2], from = tonumber(part[3]), past = tonumber(part[4]), q = tonumber(part[5]),
        c = tonumber(part[6]), t = tonumber(part[7]), channels = part[8], closed = part[9] == '1',
      }
    end
    rules_by_sku[sku] = list
  end
  return rules_by_sku[sku] or {}
end

local function is_sooner(rule, other, at)
  if not other or (rule.from > at) ~= (other.from > at) then
    return not other or rule.from > at
  elseif rule.from > at then
    return rule.from < other.from
  end
  return rule.past > other.past
end

-- Returns how a SKU with these rules stands on a channel at an instant, and by which rule.
local function judge(rules, channel, at)
  local stopped, closed = nil, nil
  for _, rule in ipairs(rules) do
    local mine = rule.channels == '' or string.find(' ' .. rule.channels .. ' ', ' ' .. channel .. ' ', 1, true)
    if mine and rule.state ~= 'ended' then
      if rule.from <= at and at < rule.past then
        return rule.state == 'stopped' and 'stopped' or 'inside', rule
      elseif rule.state == 'stopped' then
        stopped = stopped or rule
      end
      if rule.closed and is_sooner(rule, closed, at) then
        closed = rule
      end
    end
  end
  if stopped then
    return 'stopped', stopped
  end
  return closed and 'outside' or 'open', closed
end

local function fields_of(rule, sku, customer)
  local fields = { 'q\031' .. rule.sale .. '\031' .. sku }
  if customer ~= '' and rule.c > 0 then
    fields[#fields + 1] = 'c\031' .. rule.sale .. '\031' .. sku .. '\031' .. customer
  end
  if customer ~= '' and rule.t > 0 then
    fields[#fields + 1] = 't\031' .. rule.sale .. '\031' .. customer
  end
  return fields
end
