-- announce -- Publish a fact that no other script publishes: into the journal, and to whoever listens.
-- KEYS[1] journal STREAM the pool's journal
-- ARGV[1] kind <topic>.<past_verb>
-- ARGV[2] members JSON text of the message's own members, without the braces, or ''
-- RETURNS the stream id
-- KEEPS the message in the journal and on the channel is the same
-- CLOCK server

-- @include integer
-- @include clock
-- @include journal

-- Read: nothing. Refuse: the caller has checked the kind.

-- Write
return announce(KEYS[1], ARGV[1], ARGV[2])
