-- Whether a pool has rules of sales is asked once a call; what knows them is made only then. *keys* has rule and use.
-- What a wish is, usual_wish.lua says. Needs integer.lua, journal.lua.
local sales = nil
local function know_sales(keys)
  if sales == nil then
    sales = redis.call('HLEN', keys.rule) > 0 and (function()
-- @include rule_parts
-- @include rules
-- @include usual_uses
      return { rules_for = rules_for, count = count_usual, count_in = count_in, write = write_counted }
    end)()
  end
  return sales
end
