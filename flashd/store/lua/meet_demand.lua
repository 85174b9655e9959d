#!lua flags=allow-oom
-- meet_demand -- Note that a demand was met: what was done stays, the person goes.
-- KEYS[1] demand HASH demands by id, JSON
-- KEYS[2] journal STREAM j
-- ARGV[1] id which
-- ARGV[2] was the demand as it was read
-- ARGV[3] packed the same with its outcome and without the person
-- ARGV[4] channel that sent it
-- ARGV[5] kind what was demanded
-- ARGV[6] by whom
-- ARGV[7] outcome in words, without customer data
-- RETURNS `met`, or `moved` (somebody else met it, or it is gone)
-- KEEPS a demand is met once
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal

-- Refuse.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
  return 'moved'
end

-- Write.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
announce(
  KEYS[2], 'channel.demand_met',
  '"channel":' .. quoted(ARGV[4]) .. ',"demand":' .. quoted(ARGV[5]) .. ',"demand_id":' .. quoted(ARGV[1])
    .. ',"by":' .. quoted(ARGV[6]) .. ',"reason":' .. quoted(ARGV[7])
)
return 'met'
