#!lua
-- Put dead letters back on their stream, for the group that failed alone, and drop them. Returns the ids of the new
-- entries; nil for a letter that is gone, so that two operators replay it once. What tells of a caller is left out: it
-- has heard of the failure and waits no longer, and past its deadline the message would be dropped unread.
-- KEYS: stream, dead letters   ARGV: group, dead letter's id, ...
local GONE = {['raw.only'] = true, ['raw.deadline'] = true, ['raw.reply'] = true, ['raw.log'] = true}
local added = {}
for i = 2, #ARGV do
  local rows = redis.call('XRANGE', KEYS[2], ARGV[i], ARGV[i])
  if rows[1] then
    local entry = {}
    local fields = rows[1][2]
    for j = 1, #fields, 2 do
      if string.sub(fields[j], 1, 4) == 'raw.' and not GONE[fields[j]] then
        entry[#entry + 1] = string.sub(fields[j], 5)
        entry[#entry + 1] = fields[j + 1]
      end
    end
    entry[#entry + 1] = 'only'
    entry[#entry + 1] = ARGV[1]
    added[#added + 1] = redis.call('XADD', KEYS[1], '*', unpack(entry))
    redis.call('XDEL', KEYS[2], ARGV[i])
  else
    added[#added + 1] = false
  end
end
return added
