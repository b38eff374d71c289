#!lua
-- Add an entry once for each message id. Returns {added, entry id}, or nil when the stream does not exist: then its
-- groups do not either, and the publisher has to create both first.
-- KEYS: stream, seen   ARGV: window in ms, field, value, ...
local known = redis.call('GET', KEYS[2])
if known then return {0, known} end
local entry = redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', unpack(ARGV, 2))
if not entry then return false end
redis.call('SET', KEYS[2], entry, 'PX', ARGV[1])
return {1, entry}
