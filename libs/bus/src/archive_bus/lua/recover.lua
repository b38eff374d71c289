#!lua flags=allow-oom
-- Renew and return what a consumer owns, for a process that cannot know it all: the reply that brought some of it was
-- lost with its connection.
-- KEYS: stream   ARGV: group, consumer, most
local found = {}
for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[3], ARGV[2])) do
  local entries = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, row[1])
  if entries[1] then found[#found + 1] = entries[1] end
end
return found
