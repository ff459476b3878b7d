--- @include "lib/keep_for"
--- @export tags_of_call, tag_sequence, tag_invalidations, invalidate_tags

-- The tags of a space: one sorted set of those that were invalidated lately, each scored by the number of its
-- last invalidation. Entries and leases carry the number of the newest invalidation that came before them, so what
-- has a smaller number than one of its tags is void, and no call has to find the entries of a tag.
--
-- The numbers are microseconds where the clock allows it, and always grow: a clock that is set back changes nothing.
-- Three kinds of members: `d:<tag>` is an invalidation that dropped the values, `s:<tag>` one that kept them as stale,
-- and `newest` and `floor` are the newest number, and the highest that was forgotten.
local NEWEST, FLOOR = 'newest', 'floor'

-- So many invalidations are remembered. Tagged entries that are older than the oldest of them are void.
local MAX_REMEMBERED = 100000

-- The set outlives all that is compared with it. It ends by itself this long after that at least.
local SLACK_MS = 3600 * 1000

-- Returns the tags that the running step names, nil for none.
--- @lazy
function tags_of_call()
  local tags = nil
  for i = 1, arg_line_count() do
    tags = tags or {}
    tags[i] = args_of_line(i)
  end
  return tags
end

-- Returns what the steps of this script know of the tags, with the scores of these members.
local function tags_of(tags_key, members)
  local tags = open_records[tags_key]
  if not tags then
    tags = { scores = {} }
    open_records[tags_key] = tags
  end
  local scores, missing = tags.scores, {}
  for i = 1, #members do
    if scores[members[i]] == nil then
      missing[#missing + 1] = members[i]
    end
  end
  if #missing > 0 then
    local found = redis.call('ZMSCORE', tags_key, unpack(missing))
    for i = 1, #missing do
      scores[missing[i]] = tonumber(found[i]) or false
    end
  end
  return tags
end

--- @lazy
local function give_score(tags_key, tags, member, score)
  add_member(tags_key, score, member, tags.scores[member] or nil)
  tags.scores[member] = score
end

-- Has the set live for so long at least.
--- @lazy
local function outlive(tags_key, tags, ttl_ms)
  tags.ttl_ms = tags.ttl_ms or redis.call('PTTL', tags_key)
  if tags.ttl_ms < ttl_ms + SLACK_MS then
    -- Twice as long, so that not every call has to renew it.
    tags.ttl_ms = 2 * (ttl_ms + SLACK_MS)
    keep_for(tags_key, tags.ttl_ms)
  end
end

-- Returns the number of the newest invalidation, which something that lives for `ttl_ms` will carry.
--- @lazy
function tag_sequence(tags_key, ttl_ms)
  local tags = tags_of(tags_key, { FLOOR, NEWEST })
  if not (tags.scores[NEWEST] and tags.scores[FLOOR]) then
    -- Nothing is known of what came before, so whatever is older counts as void.
    give_score(tags_key, tags, FLOOR, now_us)
    give_score(tags_key, tags, NEWEST, now_us)
  end
  outlive(tags_key, tags, ttl_ms)
  return tags.scores[NEWEST]
end

-- Returns the numbers of the newest invalidations that dropped and that kept the value of something that has these
-- tags and carries the number `since`; false for none.
--- @lazy
function tag_invalidations(tags_key, names, since)
  local members = { FLOOR }
  for i = 1, #names do
    members[2 * i], members[2 * i + 1] = 'd:' .. names[i], 's:' .. names[i]
  end
  local scores = tags_of(tags_key, members).scores
  -- Without the set, nobody knows what was invalidated.
  local dropped = not scores[FLOOR] and since or scores[FLOOR] > since and scores[FLOOR]
  local kept = false
  for i = 2, #members, 2 do
    local drop, keep = scores[members[i]], scores[members[i + 1]]
    if drop and drop > since then
      dropped = math.max(dropped or 0, drop)
    end
    if keep and keep > since then
      kept = math.max(kept or 0, keep)
    end
  end
  return dropped, kept
end

-- Forgets the oldest invalidations where there are too many.
--- @lazy
local function forget_oldest(tags_key, tags, added)
  local excess = redis.call('ZCARD', tags_key) + added - MAX_REMEMBERED
  if excess <= 0 then
    return
  end
  -- The first member is the floor.
  local oldest = redis.call('ZRANGE', tags_key, 1, math.min(excess, 2 * added), 'WITHSCORES')
  for i = 1, #oldest, 2 do
    local member, score = oldest[i], tonumber(oldest[i + 1])
    -- One that this script knows may have a new number by now.
    if not tags.scores[member] then
      remove_member(tags_key, score, member)
      if score > tags.scores[FLOOR] then
        give_score(tags_key, tags, FLOOR, score)
      end
    end
  end
end

-- Invalidates everything that has one of these tags, and all leases whose entries may turn out to have one.
--- @lazy
function invalidate_tags(tags_key, names, keeps_stale)
  local members, prefix = { FLOOR, NEWEST }, keeps_stale and 's:' or 'd:'
  for i = 1, #names do
    members[i + 2] = prefix .. names[i]
  end
  local tags = tags_of(tags_key, members)
  if not (tags.scores[NEWEST] and tags.scores[FLOOR]) then
    -- Without the set there is no lease and no tagged entry that counts.
    return
  end
  local number = math.max(tags.scores[NEWEST] + 1, now_us)
  for i = 2, #members do
    give_score(tags_key, tags, members[i], number)
  end
  forget_oldest(tags_key, tags, #names)
end
