#!/usr/bin/env bash
# A worker that asks a rate limit before each job, and waits as long as Retry-After says.
set -euo pipefail

url=${LOCKSTEP_URL:-http://127.0.0.1:8080}
space=example-$$-$RANDOM # a space of its own, so that the example can run again
# Two jobs at once, and one more every two seconds, for all workers together.
rule='{"key":"mail-provider", "capacity":2, "refill_tokens":1, "refill_interval_ms":2000}'

for job in 1 2 3; do
  while true; do
    answer=$(curl -sSi --max-time 5 "$url/ratelimit" -H "Lockstep-Space: $space" \
      -H 'Content-Type: application/json' -d "$rule" | tr -d '\r')
    case $(head -n 1 <<< "$answer" | cut -d ' ' -f 2) in
      200) break ;;
      429 | 503) ;; # the limit, or a service that is busy: both say how long to wait
      *) echo "$answer" >&2 && exit 1 ;;
    esac
    seconds=$(sed -n 's/^retry-after: //p' <<< "$answer")
    echo "waiting ${seconds:=1} s"
    sleep "$seconds"
  done
  echo "job $job done"
done
