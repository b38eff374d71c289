#!lua
-- Create a group that sees its stream from the start, unless it is there. What is counted and parked for an earlier one
-- of its name, which somebody has destroyed by hand, is not this one's. Returns 1; 0 when it was there.
-- KEYS: stream, runs, parked   ARGV: group
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if made.err then
  if string.find(made.err, 'BUSYGROUP', 1, true) then return 0 end
  return made
end
redis.call('DEL', KEYS[2], KEYS[3])
return 1
