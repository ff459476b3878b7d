--[[
Counts down, not below a minimum.

KEYS
  counter_key            record  counter

ARGV
  counter_name           id
  by                     whole number above 0
  min                    whole number
  initial                whole number that a new counter counts from
  ttl_ms                 how long it lasts, or nothing
  ttl_mode               keep, refresh or if_none
  on_bound               reject or saturate

REPLY
  ok                     counter value previous
  counter_below_minimum  counter value:json min:json
  counter_out_of_range   counter value:json
]]
--- @include "lib/counter"

return step_counter(counter_key, counter_name, -tonumber(by), tonumber(min), 'counter_below_minimum',
  initial, ttl_ms, ttl_mode, on_bound)
