"""Reserve, take the payment, then confirm; where the payment fails, cancel."""

import json
import os
import uuid
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ.get("LOCKSTEP_URL", "http://127.0.0.1:8080")
SPACE = f"example-{uuid.uuid4()}"  # a space of its own, so that the example can run again


class Problem(Exception):
    """The service has refused a call; `members` is its answer."""

    def __init__(self, members):
        super().__init__(members["detail"])
        self.members = members


def post(path, body):
    headers = {"Content-Type": "application/json", "Lockstep-Space": SPACE}
    try:
        with urlopen(Request(URL + path, json.dumps(body).encode(), headers), timeout=5) as response:
            return json.load(response)
    except HTTPError as error:
        raise Problem(json.load(error)) from None


def pay(customer):
    """The payment provider, which turns dave down."""
    return customer != "dave"


def buy(customer, quantity):
    """Answers how it went."""
    try:
        line = {"customer_id": customer, "product_id": "cup", "quantity": quantity}
        reservation = post("/inventory/reserve", line | {"ttl_ms": 300_000})["reservation_id"]
    except Problem as problem:
        if problem.members["code"] != "insufficient_stock":
            raise
        available = problem.members["shortages"][0]["available"]
        return f"{customer}: wanted {quantity}, {available} available"
    # Nobody else can have the units for five minutes, even if this process dies here.
    if not pay(customer):
        post("/inventory/cancel", {"reservation_id": reservation})
        return f"{customer}: payment failed, gave {quantity} back"
    try:
        post("/inventory/confirm", {"reservation_id": reservation})
    except Problem as problem:
        return f"{customer}: too late, the payment has to be given back: {problem}"
    return f"{customer}: bought {quantity}"


post("/inventory/products", {"product_id": "cup", "name": "Espresso cup", "price": "7.90", "initial_stock": 3})
print(buy("carol", 2))
print(buy("dave", 1))
print(buy("erin", 2))
