//! What is done in the store at once. Durations are the doors', times are the store's.

/// Ended sessions: into the set until they would have ended anyway, and to all doors.
/// Key: the set. Arguments: the channel, and for each session its entry, milliseconds, and the message.
pub(super) const ENDED: &str = "\
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for i = 2, #ARGV, 3 do
  redis.call('ZADD', KEYS[1], now + ARGV[i + 1], ARGV[i])
  redis.call('PUBLISH', ARGV[1], ARGV[i + 2])
end
return 1";

/// A door says that it is here, and hears who was.
/// Keys: the doors, the era of the store, which ends when it is emptied. Arguments: the door's name, what it says, another era.
pub(super) const BEAT: &str = "\
local all = {}
if redis.call('HLEN', KEYS[1]) <= 256 then all = redis.call('HGETALL', KEYS[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local era = redis.call('GET', KEYS[2])
if not era then
  era = ARGV[3]
  redis.call('SET', KEYS[2], era)
end
return {era, all}";

/// A login before it is checked: how many were wrong, and its place among those that are being checked. Never more of them
/// at once than may fail. What never ends no door wrote: it is nothing. Keys: wrong, running, names, of the user. Arguments: token, most, most names (0: any), how long
/// its place is kept.
pub(super) const ADMIT: &str = "\
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for _, key in ipairs(KEYS) do
  if redis.call('PTTL', key) == -1 then redis.call('DEL', key) end
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local wrong, names, of_user = redis.call('SCARD', KEYS[1]), redis.call('SCARD', KEYS[3]), redis.call('SCARD', KEYS[4])
if tonumber(ARGV[3]) > 0 and names >= tonumber(ARGV[3]) then
  return {2, wrong, names, of_user, redis.call('PTTL', KEYS[3])}
end
if wrong + redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[2]) then
  return {1, wrong, names, of_user, math.max(redis.call('PTTL', KEYS[1]), 0)}
end
redis.call('ZADD', KEYS[2], now + ARGV[4], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {0, wrong, names, of_user, 0}";

/// A password was wrong. No set grows without bound; who was right since begins anew. Keys: wrong, running, names, of the
/// user, the user's sources, when right. Arguments: token, fingerprint, user, source, how long it counts, how long ago.
pub(super) const WRONG: &str = "\
redis.call('ZREM', KEYS[2], ARGV[1])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local right = tonumber(redis.call('GET', KEYS[6]) or '0') or 0
if now - ARGV[6] < right and right <= now then return 0 end
local function add(key, what)
  if redis.call('SCARD', key) < 4096 and redis.call('SADD', key, what) == 1 then
    if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, ARGV[5]) end
    return true
  end
end
if add(KEYS[1], ARGV[2]) then
  add(KEYS[5], ARGV[4])
  add(KEYS[3], ARGV[3])
  add(KEYS[4], ARGV[4] .. ARGV[2])
end
return 1";

/// A password was right: what was wrong before is forgotten, and is not put back by a door that still has it.
/// Keys: wrong, running, when right. Arguments: token, how long something wrong counts.
pub(super) const RIGHT: &str = "\
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('DEL', KEYS[1]) == 1 then
  local t = redis.call('TIME')
  redis.call('SET', KEYS[3], t[1] * 1000 + math.floor(t[2] / 1000), 'PX', ARGV[2])
end
return 1";

/// What failed with a name is forgotten. Keys: its sources, guesses at it. Argument: the beginning of the keys of its sets.
pub(super) const RELEASE_NAME: &str = "\
for _, source in ipairs(redis.call('SMEMBERS', KEYS[1])) do redis.call('DEL', ARGV[1] .. source) end
return redis.call('DEL', KEYS[1], KEYS[2])";

/// What failed from a network is forgotten. Key: its names. Arguments: the beginning of the keys of its sets, its hash.
pub(super) const RELEASE_NETWORK: &str = "\
for _, user in ipairs(redis.call('SMEMBERS', KEYS[1])) do redis.call('DEL', ARGV[1] .. user .. ':' .. ARGV[2]) end
return redis.call('DEL', KEYS[1])";
