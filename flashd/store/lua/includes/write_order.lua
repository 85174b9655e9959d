-- What accept writes of the order itself without taking stock, one function a verdict; each returns a code and what is
-- short. *c* has keys, key, head (or nil), waiting, entry. Needs decide.lua, waiting.lua, transition.lua,
-- pick.lua, listing.lua.
local write = {}

local function apply_entry(c, head)
  head.version, head.digest, head.waits = c.entry.version, c.entry.digest, c.entry.effect == 'wait'
  write_content(c.key, c.entry)
  if c.waiting then
    drop_next(c.keys, c.key)
  end
end

function write.note(c)
  if c.waiting and c.entry.effect == 'ignore' then
    c.waiting.version = c.entry.version
    keep_next(c.keys, c.key, c.waiting)
  else
    c.head.version = c.entry.version
    write_head(c.key, c.head)
    if c.waiting then
      drop_next(c.keys, c.key)
    end
  end
  return 'updated', {}
end

function write.later(c)
  keep_next(c.keys, c.key, c.entry)
  return 'later', {}
end

-- A record that takes no stock: IGNORED, or CANCELLED before anything else was heard of it.
local function write_bare(c, state)
  local code = c.head and 'updated' or 'accepted'
  local head = c.head or new_head(c.entry, 'create', c.entry.backend)
  apply_entry(c, head)
  write_items(c.key, read_items(c.entry.items))
  redis.call('HDEL', c.key, 'b') -- nobody will want the raw body, which holds customer data
  local late = state == 'ignored' and c.entry.effect ~= 'ignore'
  enter(c.keys, c.key, head, state, late and 'placed before the cut-over' or c.entry.reason, {}, PAST[state])
  c.head = head
  return code, {}
end

function write.ignore(c)
  return write_bare(c, 'ignored')
end

-- What its channel may have sold and put back unseen is told to the listings.
function write.tombstone(c)
  local terms = read_terms(c.entry.terms)
  for _, item in ipairs(terms.mode ~= 'none' and terms.restocks and read_items(c.entry.items) or {}) do
    local row = read_listing(c.shelf, item.sku)
    if row then
      unsell_from_listing(row, item.quantity)
      write_listing(c.shelf, row)
    end
  end
  return write_bare(c, 'cancelled')
end
