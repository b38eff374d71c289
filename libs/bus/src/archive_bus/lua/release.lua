#!lua flags=allow-oom
-- Let go of messages. Those that this consumer owns belong to nobody then, and any consumer may claim them once they have
-- been idle for a lease; what is to wait longer is noted as parked until its time. What became of a run is noted also
-- when another consumer has its message by now, who would else take it for one that took its process down.
-- KEYS: stream, runs, parked   ARGV: group, consumer, nobody, lease in ms, delay in ms, ! when the runs failed and
-- nothing when they are to count as never begun, entry id, its run or nothing, ...
local lease, delay = tonumber(ARGV[4]), tonumber(ARGV[5])
local now = redis.call('TIME')
local due = now[1] * 1000 + math.floor(now[2] / 1000) + delay
local failed = ARGV[6] == '!'
local function note(id, ended)
  local runs = {}
  for run in string.gmatch(redis.call('HGET', KEYS[2], id) or '', '(%w+!?)') do
    if run ~= ended and run ~= ended .. '!' then runs[#runs + 1] = run end
  end
  if failed then runs[#runs + 1] = ended .. '!' end
  if #runs > 0 then redis.call('HSET', KEYS[2], id, table.concat(runs, ' ') .. ' ') else redis.call('HDEL', KEYS[2], id) end
end
for i = 7, #ARGV, 2 do
  local id, run = ARGV[i], ARGV[i + 1]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)
  local there = pending[1] ~= nil
  if there and pending[1][2] == ARGV[2] then
    local idle = delay <= 0 and 1000000000 or math.max(0, lease - delay)
    -- Nothing comes back of an entry that was deleted: nobody would ever forget what is kept for it.
    there = #redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, id, 'IDLE', idle, 'JUSTID') > 0
    if not there then
      redis.call('HDEL', KEYS[2], id)
    elseif delay > lease then
      redis.call('ZADD', KEYS[3], due, id)
    end
  end
  if there and run ~= '' then note(id, run) end
end
return 1
