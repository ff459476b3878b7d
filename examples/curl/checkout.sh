#!/usr/bin/env bash
# A checkout in one call, sent again under its Idempotency-Key until the outcome is known.
set -euo pipefail

url=${LOCKSTEP_URL:-http://127.0.0.1:8080}
space=example-$$-$RANDOM # a space of its own, so that the example can run again

post() { # PATH BODY [CURL-OPTION...]
  curl -sS --max-time 5 "$url$1" -H "Lockstep-Space: $space" -H 'Content-Type: application/json' -d "$2" "${@:3}"
}

post /accounts '{"account_id":"dora", "initial_balance":"20.00"}' >/dev/null
post /accounts '{"account_id":"shop"}' >/dev/null
post /inventory/products '{"product_id":"mug", "name":"Mug", "price":"7.90", "initial_stock":3}' >/dev/null

key=order-1 # chosen before the first attempt, and the same in all of them
order='{"operations":[
  {"operation":"ratelimit/check",
   "input":{"key":"checkout-dora", "algorithm":"sliding_window", "limit":2, "window_ms":60000}},
  {"operation":"inventory/reserve", "input":{"customer_id":"dora", "product_id":"mug", "quantity":1}},
  {"operation":"counters/increment", "input":{"counter":"coupon-WINTER", "max":2}},
  {"operation":"accounts/transfer", "input":{"from_account":"dora", "to_account":"shop", "amount":"7.90"}}]}'

for delay in 0.1 0.5 2 5; do
  # A timeout or a broken connection does not say whether the order has gone through.
  answer=$(post /atomic "$order" -i -H "Idempotency-Key: $key" 2>/dev/null) || answer='HTTP/1.1 000'
  case $(head -n 1 <<< "$answer" | cut -d ' ' -f 2) in
    200)
      left=$(grep -o '"from_balance":"[^"]*"' <<< "$answer" | cut -d '"' -f 4)
      again=$(grep -qi '^idempotent-replayed: true' <<< "$answer" && echo ', by an earlier attempt' || true)
      echo "$key: paid 7.90, $left left$again"
      exit 0
      ;;
    000 | 503 | 504)
      echo "$key: no result yet, sending it again"
      sleep "$delay"
      ;;
    *)
      echo "$key: refused: $(tail -n 1 <<< "$answer")"
      exit 1
      ;;
  esac
done
echo "$key: the outcome is still unknown; ask again later, under the same key" >&2
exit 1
