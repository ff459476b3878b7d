--[[
Counts up, not past a maximum where there is one.

KEYS
  counter_key             record  counter

ARGV
  counter_name            id
  by                      whole number above 0
  max                     whole number, or nothing for none
  initial                 whole number that a new counter counts from
  ttl_ms                  how long it lasts, or nothing
  ttl_mode                keep, refresh or if_none
  on_bound                reject or saturate

REPLY
  ok                      counter value previous
  counter_limit_exceeded  counter value:json max:json
  counter_out_of_range    counter value:json
]]
--- @include "lib/counter"

return step_counter(counter_key, counter_name, tonumber(by), tonumber(max), 'counter_limit_exceeded',
  initial, ttl_ms, ttl_mode, on_bound)
