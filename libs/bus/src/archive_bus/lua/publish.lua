#!lua
-- Add an entry once for each message id. Returns {1, entry id}; {0, entry id} when it was there; -1 when the lease under
-- which it is published is over; {-2, group, waiting} when a group of the stream has the most waiting that is allowed;
-- nil when the stream does not exist: then its groups do not either, and the publisher has to create both first.
-- KEYS: stream, seen   ARGV: end of the lease or 0, window in ms, most waiting, field, value, ...
local known = redis.call('GET', KEYS[2])
if known then return {0, known} end
if ARGV[1] ~= '0' then
  local now = redis.call('TIME')
  if now[1] * 1000 + now[2] / 1000 >= tonumber(ARGV[1]) then return -1 end
end
local most = tonumber(ARGV[3])
local length = redis.call('XLEN', KEYS[1])
if length >= most then
  -- Longer than allowed need not be more than allowed: what every group has handled is kept for the retention.
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local info = {}
    for i = 1, #row, 2 do info[row[i]] = row[i + 1] end
    local waiting = (info['lag'] or length) + info['pending']
    if waiting >= most then return {-2, info['name'], waiting} end
  end
end
local entry = redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', unpack(ARGV, 4))
if not entry then return false end
redis.call('SET', KEYS[2], entry, 'PX', ARGV[2])
return {1, entry}
