#!lua
-- Keep an entry until it is due, once for each message id: its place in the set is its time, by the server's clock.
-- Returns the milliseconds left; nil when the id is known; -1 when the lease under which it is kept is over; -2 when as
-- many as are allowed wait.
-- KEYS: due, parcels, seen
-- ARGV: end of the lease or 0, window in ms, time in ms since the epoch or 0, delay in ms, most waiting, message id,
-- field, value, ...
if redis.call('EXISTS', KEYS[3]) == 1 then return false end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if ARGV[1] ~= '0' and now >= tonumber(ARGV[1]) then return -1 end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[5]) then return -2 end
local due = tonumber(ARGV[3])
-- The clock is cut to milliseconds, so one more is waited for: nothing is ever early.
if due == 0 then due = now + tonumber(ARGV[4]) + 1 end
local left = math.max(0, due - now)
redis.call('ZADD', KEYS[1], string.format('%.0f', due), ARGV[6])
redis.call('HSET', KEYS[2], ARGV[6], cmsgpack.pack({unpack(ARGV, 7)}))
redis.call('SET', KEYS[3], 'timer', 'PX', string.format('%.0f', left + tonumber(ARGV[2])))
return left
