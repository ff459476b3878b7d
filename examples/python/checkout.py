"""A checkout in one call, sent again under its Idempotency-Key until the outcome is known."""

import json
import os
import sys
import time
import uuid
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ.get("LOCKSTEP_URL", "http://127.0.0.1:8080")
SPACE = f"example-{uuid.uuid4()}"  # a space of its own, so that the example can run again


def post(path, body, **headers):
    """Answers the body and the headers; a problem is an HTTPError."""
    headers = {"Content-Type": "application/json", "Lockstep-Space": SPACE} | headers
    request = Request(URL + path, json.dumps(body).encode(), headers)
    with urlopen(request, timeout=5) as response:
        return json.load(response), response.headers


def checkout(key, order):
    """The key is chosen before the first attempt, and is the same in all of them."""
    for delay in (0.1, 0.5, 2, 5):
        try:
            return post("/atomic", order, **{"Idempotency-Key": key})
        except HTTPError as problem:
            if problem.code not in (503, 504):
                raise
        except (OSError, HTTPException):
            pass  # A timeout or a broken connection does not say whether the order has gone through.
        print(f"{key}: no result yet, sending it again")
        time.sleep(delay)
    sys.exit(f"{key}: the outcome is still unknown; ask again later, under the same key")


def main():
    post("/accounts", {"account_id": "dora", "initial_balance": "20.00"})
    post("/accounts", {"account_id": "shop"})
    post("/inventory/products", {"product_id": "mug", "name": "Mug", "price": "7.90", "initial_stock": 3})

    limit = {"key": "checkout-dora", "algorithm": "sliding_window", "limit": 2, "window_ms": 60_000}
    order = {
        "operations": [
            {"operation": "ratelimit/check", "input": limit},
            {"operation": "inventory/reserve", "input": {"customer_id": "dora", "product_id": "mug", "quantity": 1}},
            {"operation": "counters/increment", "input": {"counter": "coupon-WINTER", "max": 2}},
            {
                "operation": "accounts/transfer",
                "input": {"from_account": "dora", "to_account": "shop", "amount": "7.90"},
            },
        ]
    }
    try:
        answer, headers = checkout("order-1", order)
    except HTTPError as problem:
        sys.exit(f"order-1: refused: {json.load(problem)['detail']}")
    left = answer["results"][-1]["body"]["from_balance"]
    again = ", by an earlier attempt" if headers["Idempotent-Replayed"] else ""
    print(f"order-1: paid 7.90, {left} left{again}")


main()
