#!lua
-- Add the replies of a loop turn to a caller's reply stream, as one entry that repeats their fields, each while the
-- lease under which it is written lasts. Returns the entry's id; nil when the stream is gone, for nobody would ever
-- read a new one; the numbers of those that came too late, from 1 on, when there are any.
-- KEYS: stream   ARGV: first end of a lease or 0, most entries, replies, and for each its end of the lease or 0 and
-- the length of its fields, then all fields: field, value, ...
local count = tonumber(ARGV[3])
local place = 4 + 2 * count
if ARGV[1] ~= '0' then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + time[2] / 1000
  if now >= tonumber(ARGV[1]) then
    local late, fields = {}, {}
    for i = 1, count do
      local ends, length = tonumber(ARGV[2 + 2 * i]), tonumber(ARGV[3 + 2 * i])
      if ends ~= 0 and now >= ends then
        late[#late + 1] = i
      else
        for j = place, place + length - 1 do fields[#fields + 1] = ARGV[j] end
      end
      place = place + length
    end
    if #fields > 0 and not redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[2], '*', unpack(fields)) then
      return false
    end
    return late
  end
end
return redis.call('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, place))
