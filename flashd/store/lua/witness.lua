#!lua flags=allow-oom
-- witness -- Write something, so that a WAIT behind it covers all that was written before.
-- KEYS[1] witness STRING nothing
-- RETURNS 1
-- KEEPS it is no bigger than before, and is written out of memory too: what drains must be proven then
-- CLOCK none

-- Read, Refuse: there is nothing to refuse.

-- Write
redis.call('SET', KEYS[1], '')
return 1
