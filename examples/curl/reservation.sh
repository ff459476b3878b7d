#!/usr/bin/env bash
# Reserve, take the payment, then confirm; where the payment fails, cancel.
set -euo pipefail

url=${LOCKSTEP_URL:-http://127.0.0.1:8080}
space=example-$$-$RANDOM # a space of its own, so that the example can run again

post() { # PATH BODY
  curl -sS --max-time 5 "$url$1" -H "Lockstep-Space: $space" -H 'Content-Type: application/json' -d "$2"
}

member() { # NAME, of the JSON on standard input; jq does this better where you have it
  grep -oE "\"$1\":(\"[^\"]*\"|[0-9]+)" | head -n 1 | cut -d : -f 2- | tr -d '"'
}

pay() { # CUSTOMER: the payment provider, which turns dave down
  [ "$1" != dave ]
}

buy() { # CUSTOMER QUANTITY
  local answer reservation
  answer=$(post /inventory/reserve \
    '{"customer_id":"'"$1"'", "product_id":"cup", "quantity":'"$2"', "ttl_ms":300000}')
  if [[ $answer == *'"code":"insufficient_stock"'* ]]; then
    echo "$1: wanted $2, $(member available <<< "$answer") available"
    return
  fi
  # Nobody else can have the units for five minutes, even if this script dies here.
  reservation=$(member reservation_id <<< "$answer")
  if pay "$1"; then
    answer=$(post /inventory/confirm '{"reservation_id":"'"$reservation"'"}')
    case $answer in
      *'"status":"confirmed"'*) echo "$1: bought $2" ;;
      *) echo "$1: too late, the payment has to be given back: $(member detail <<< "$answer")" ;;
    esac
  else
    post /inventory/cancel '{"reservation_id":"'"$reservation"'"}' >/dev/null
    echo "$1: payment failed, gave $2 back"
  fi
}

post /inventory/products '{"product_id":"cup", "name":"Espresso cup", "price":"7.90", "initial_stock":3}' >/dev/null
buy carol 2
buy dave 1
buy erin 2
