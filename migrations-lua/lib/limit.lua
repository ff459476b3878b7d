--- @include "lib/token_bucket"
--- @include "lib/sliding_window"
--- @include "lib/sliding_counter"
--- @include "lib/fixed_window"
--- @include "lib/concurrency"
--- @export CONCURRENCY, open_limit, set_aside, take_units, give_back_units, remaining_units, wait_for, exceeds_limit, decision_json

-- The state of a limit: one record, and for some algorithms a sorted set beside it. The first byte of a record is
-- the code of its algorithm, so a policy that changes its algorithm begins anew.
--
-- An algorithm has these functions; `state` is the state in memory, which they share.
--   decode(key, text)      returns the state that a record stands for; an algorithm without it has no record
--   open(state, rule)      prepares the state for the rule of this call and for the present moment
--   free(state)            returns the units that can be taken now
--   wait(state, cost)      returns the milliseconds from `state.at` until `cost` units are free
--   take(state, cost)      takes units; returns the encoder of the state, for `mark_dirty`
--   give_back(state, cost) gives back at most `cost` units; returns how many, and the encoder
-- Leases have two others in its place: `release(state, lease_id)` and `end_all(state)`, which return an encoder too.
-- `state.at` is the latest moment that the state knows, and never before now. `state.pending` is what earlier
-- lines of the same call have set aside.
local TOKEN_BUCKET, SLIDING_WINDOW, SLIDING_COUNTER, FIXED_WINDOW = 1, 2, 3, 4
CONCURRENCY = 5

local algorithms = {} -- by code, built when the first call needs it

-- Returns the functions of the algorithm with a code, or nil where no algorithm has it.
local function algorithm_of(code)
  local algorithm = algorithms[code]
  if not algorithm then
    local build = code == TOKEN_BUCKET and token_bucket or code == SLIDING_WINDOW and sliding_window
      or code == SLIDING_COUNTER and sliding_counter or code == FIXED_WINDOW and fixed_window
      or code == CONCURRENCY and concurrency
    algorithm = build and build() or nil
    algorithms[code] = algorithm
  end
  return algorithm
end

-- Returns the state of a limit under a rule, and the functions of its algorithm.
function open_limit(rule, state_key, log_key)
  local algorithm, state = algorithm_of(rule.code), open_records[state_key]
  if not state then
    -- Without a record of its own, an algorithm keeps all of its state in the set.
    local text = algorithm.decode and read_record(state_key)
    local old = text and algorithm_of(text:byte(1) or 0)
    if text and not (old and old.decode) then
      fail_corrupt(state_key, 'a limit')
    end
    state = text and old.decode(state_key, text)
    if not state or old ~= algorithm then
      state = {}
    end
    state.log_key, state.pending = log_key, 0
    open_records[state_key] = state
  end
  algorithm.open(state, rule)
  return state, algorithm
end

-- Returns true where a cost can never fit, beside what the same call has set aside already.
function exceeds_limit(rule, state, cost)
  return state.pending + cost > rule.limit
end

-- Sets units aside if they are free, and returns whether they are. While the clock of Redis is behind a moment at
-- which units were taken, none are: that stretch of time has been accounted for already.
function set_aside(state, algorithm, cost)
  if state.at > now or algorithm.free(state) < cost then
    return false
  end
  state.pending = state.pending + cost
  return true
end

-- Takes the units that were set aside for this line, and has the state written.
function take_units(state_key, state, algorithm, cost, lease_id)
  state.pending = state.pending - cost
  mark_dirty(state_key, algorithm.take(state, cost, lease_id))
end

-- Gives back at most `cost` units, and has the state written. Returns how many were given back.
function give_back_units(state_key, state, algorithm, cost)
  local returned, encode = algorithm.give_back(state, cost)
  if returned > 0 then
    mark_dirty(state_key, encode)
  end
  return returned
end

-- Returns the units that can be taken now.
function remaining_units(state, algorithm)
  return state.at > now and 0 or math.max(algorithm.free(state), 0)
end

-- Returns the milliseconds after which `cost` units are free if nobody else takes any.
function wait_for(state, algorithm, cost)
  return state.at - now + algorithm.wait(state, cost)
end

-- Returns the figures of a decision as JSON.
function decision_json(rule, remaining, retry_after_ms, reset_after_ms)
  return ('{"limit":%d,"remaining":%d,"retry_after_ms":%d,"reset_after_ms":%d,"window_ms":%d}'):format(
    rule.limit, remaining, retry_after_ms, reset_after_ms, rule.window_ms
  )
end
