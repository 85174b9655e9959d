-- What holds and orders count for: quotas and limits of sales, and whether a sale lets them in at all.
-- flashd/domain/allowance.py is the specification. *keys* has rule and use. Needs rules.lua, uses.lua.
local function known_sales(before)
  local sales, of = {}, {}
  for _, field in ipairs(before.order) do
    local sale, sku = string.match(field, '^q\031([^\031]*)\031(.*)$')
    if sale then
      sales[sku] = sale
    end
  end
  for sku, sale in pairs(sales) do
    of[sku] = {}
    for _, field in ipairs(before.order) do
      local kind, its, rest = string.match(field, '^(%a)\031([^\031]*)\031([^\031]*)')
      if its == sale and (kind == 't' or rest == sku) then
        of[sku][#of[sku] + 1] = field
      end
    end
  end
  return sales, of
end

local function rule_of_sale(rules, sale)
  for _, rule in ipairs(rules) do
    if rule.sale == sale then
      return rule
    end
  end
  return nil
end

-- *p* has ordered, had (bags as ordered), before (uses), channel, customer, at, and fixed where nothing new is judged.
-- Returns {uses, bounds (by field, also in order), barred, blocked (units by SKU as ordered)}.
local function count_uses(keys, p)
  local result = { uses = new_bag(), bounds = {}, barred = {}, blocked = {} }
  local sales, fields_before = known_sales(p.before)
  for _, field in ipairs(p.before.order) do
    put(result.uses, field, p.before.units[field])
  end
  local skus = new_bag()
  for _, bag in ipairs({ p.ordered, p.had }) do
    for _, sku in ipairs(bag.order) do
      put(skus, sku, 0)
    end
  end
  for _, sku in ipairs(skus.order) do
    local extra = (p.ordered.units[sku] or 0) - (p.had.units[sku] or 0)
    local stand, rule, fields = 'open', nil, {}
    if sales[sku] then
      rule = not p.fixed and rule_of_sale(rules_for(keys, sku), sales[sku]) or nil
      stand, fields = (rule and rule.state == 'stopped' and extra > 0) and 'stopped' or 'inside', fields_before[sku]
    elseif extra > 0 and not p.fixed then
      stand, rule = judge(rules_for(keys, sku), p.channel, p.at)
      fields = stand == 'inside' and fields_of(rule, sku, p.customer) or {}
    end
    if stand == 'outside' or stand == 'stopped' then
      result.barred[#result.barred + 1] = { sku = sku, stand = stand, rule = rule }
      result.blocked[sku] = stand == 'stopped' and extra or nil
    else
      for _, field in ipairs(fields) do
        put(result.uses, field, extra)
        local most = rule and rule[string.sub(field, 1, 1)] or 0
        if most > 0 and not result.bounds[field] then
          local bound = { field = field, quota = string.sub(field, 1, 1) == 'q', sale = rule.sale, sku = sku, most = most }
          result.bounds[field], result.bounds[#result.bounds + 1] = bound, bound
        end
      end
    end
  end
  return result
end

-- What is more than allowed; *all* looks at what did not rise, too.
local function breaches_of(keys, result, before, all)
  local found = {}
  for _, bound in ipairs(result.bounds) do
    local was = before.units[bound.field] or 0
    local had = (tonumber(redis.call('HGET', keys.use, bound.field) or 0)) - was
    local units = math.max(0, result.uses.units[bound.field] or 0)
    if had + units > bound.most and (all or units > was) then
      found[#found + 1] = { quota = bound.quota, sale = bound.sale, sku = bound.sku, had = had, may = bound.most }
    end
  end
  return found
end

-- Why a human must look, in words; the same words as in the specification.
local function reasons_of(result, found)
  local reasons = {}
  for _, one in ipairs(result.barred) do
    reasons[#reasons + 1] = (one.stand == 'stopped' and 'stopped: sale ' or 'not in the time of sale ') .. one.rule.sale .. ': ' .. one.sku
  end
  for _, breach in ipairs(found) do
    reasons[#reasons + 1] = 'beyond the ' .. (breach.quota and 'quota' or 'limit') .. ' of sale ' .. breach.sale .. ': ' .. breach.sku
  end
  return reasons
end
