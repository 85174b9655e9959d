-- enroll -- Found a pool in this store, or say which life of it stands there.
-- KEYS[1] meta HASH schema, generation, created_ms, backends
-- KEYS[2] journal STREAM the pool's journal
-- KEYS[3] stock HASH the pool's counters
-- ARGV[1] schema the layout of keys that the caller speaks
-- ARGV[2] generation a new uuid, used if the pool is founded now
-- ARGV[3] known the generation that the caller has met here before, or ''
-- RETURNS [code, schema, generation, last journal id]: `founded`, `known` (it stands there; the caller compares),
--   `emptied` (the caller knows a life of it and nothing is there), `stranded` (there are keys and no meta)
-- KEEPS a generation is written once and never changed
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal_end

-- Read
local meta, journal, stock = KEYS[1], KEYS[2], KEYS[3]
local found = redis.call('HMGET', meta, 'schema', 'generation')
local has_journal, has_stock = redis.call('EXISTS', journal), redis.call('EXISTS', stock)
local last = last_id(journal)

-- Refuse
if found[2] then
  return { 'known', found[1] or '', found[2], last }
end
if ARGV[3] ~= '' then
  return { 'emptied', '', '', last }
end
if has_journal == 1 or has_stock == 1 then
  return { 'stranded', '', '', last }
end

-- Write
redis.call('HSET', meta, 'schema', ARGV[1], 'generation', ARGV[2], 'created_ms', whole(now_ms))
return { 'founded', ARGV[1], ARGV[2], last }
