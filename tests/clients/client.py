"""A client that openapi-python-client has made of the document: its calls of each kind are answered as its types say.
`tests/document.rs` generates the package `lockstep_client` and runs this."""

import os

from lockstep_client import Client
from lockstep_client.api.accounts import accounts_get, accounts_open, accounts_transfer
from lockstep_client.api.atomic import atomic_run
from lockstep_client.api.batch import batch_get, batch_run
from lockstep_client.models import (
    Atomic,
    AtomicAccountsTransfer,
    AtomicCountersIncrement,
    Account,
    AccountNotFoundProblem,
    Batch,
    BatchGet,
    DataCommand,
    DataCommandType,
    Increment,
    InsufficientFundsProblem,
    OpenAccount,
    ScoredMember,
    Transfer,
)

client = Client(base_url=os.environ["LOCKSTEP_URL"])

for account_id in ["carol", "dave"]:
    opened = accounts_open.sync(client=client, body=OpenAccount(account_id=account_id, initial_balance="4.00"))
    assert isinstance(opened, Account) and opened.balance == "4.00", opened

body = Transfer(from_account="carol", to_account="dave", amount="10.00")
refused = accounts_transfer.sync(client=client, body=body, idempotency_key="order-2")
assert isinstance(refused, InsufficientFundsProblem), refused
assert (refused.available, refused.required, refused.status) == ("4.00", "10.00", 409), refused

missing = accounts_get.sync(client=client, account_id="nobody")
assert isinstance(missing, AccountNotFoundProblem) and missing.role == "account_id", missing

transfer = Transfer(from_account="carol", to_account="dave", amount="1.50")
operations = [
    AtomicAccountsTransfer(operation="accounts/transfer", input_=transfer),
    AtomicCountersIncrement(operation="counters/increment", input_=Increment(counter="sales")),
]
atomic = atomic_run.sync(client=client, body=Atomic(operations=operations))
assert atomic.results[0].body.from_balance == "2.50", atomic
assert atomic.results[1].body.value == 1, atomic

operations = [
    DataCommand(type_=DataCommandType.SADD, key="labels", members=["a", "b"]),
    DataCommand(type_=DataCommandType.ZADD, key="ranks", members=[ScoredMember(member="alice", score=12.5)]),
    DataCommand(type_=DataCommandType.SET, key="title", value="x"),
    DataCommand(type_=DataCommandType.GET, key="title"),
]
batch = batch_run.sync(client=client, body=Batch(operations=operations))
assert [result.result for result in batch.results] == [2, 1, True, "x"], batch

values = batch_get.sync(client=client, body=BatchGet(keys=["title", "none"])).values
assert (values["title"], values["none"]) == ("x", None), values
