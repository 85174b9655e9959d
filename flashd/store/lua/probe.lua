-- probe -- Write as an order would be written, and say which life of the store answered.
-- KEYS[1] probe STRING time of the last probe
-- KEYS[2] meta HASH schema, generation, created_ms, backends
-- KEYS[3] journal STREAM the pool's journal
-- RETURNS [generation or '', last journal id or '', server time ms]
-- KEEPS it is refused out of memory, like an order; nothing but the probe's own key is changed
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal_end

-- Read
local generation = redis.call('HGET', KEYS[2], 'generation') or ''
local last = last_id(KEYS[3])

-- Refuse: there is nothing to refuse.

-- Write
redis.call('SET', KEYS[1], whole(now_ms))
return { generation, last, whole(now_ms) }
