// A client whose types openapi-typescript has made of the document: it compiles under `tsc --strict`, and its calls
// of each kind are answered as the types say. `tests/document.rs` generates the types, compiles this and runs it.

import createClient from "openapi-fetch";
import type { components, paths } from "./lockstep";

const client = createClient<paths>({ baseUrl: process.env.LOCKSTEP_URL! });

function assert(holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(what));
}

// A field with a default need not be given.
for (const account_id of ["alice", "bob"]) {
  const opened = await client.POST("/accounts", { body: { account_id, initial_balance: "4.00" } });
  assert(opened.data !== undefined && opened.data.currency === "USD", opened.error);
}

// The code of a problem tells which members it has.
const refused = await client.POST("/accounts/transfer", {
  params: { header: { "Idempotency-Key": "order-1", "Lockstep-Space": "main" } },
  body: { from_account: "alice", to_account: "bob", amount: "10.00" },
});
assert(refused.error?.code === "insufficient_funds", refused);
const available: string = refused.error.available;
assert(available === "4.00" && refused.error.required === "10.00", refused.error);
assert(refused.response.status === 409, refused.response.status);

const invalid = await client.POST("/accounts/transfer", {
  // @ts-expect-error An amount is a string.
  body: { from_account: "alice", to_account: "bob", amount: 1 },
});
assert(invalid.error?.code === "invalid_amount" && invalid.error.errors?.[0]?.pointer === "/amount", invalid);

// The operation decides what its input is, and the result what its body is.
const transfer: components["schemas"]["AtomicOperation"] = {
  operation: "accounts/transfer",
  input: { from_account: "alice", to_account: "bob", amount: "1.50" },
};
const atomic = await client.POST("/atomic", {
  body: { operations: [transfer, { operation: "counters/increment", input: { counter: "orders" } }] },
});
assert(atomic.data !== undefined, atomic.error);
const [first, second] = atomic.data.results;
assert(first?.operation === "accounts/transfer" && first.body.from_balance === "2.50", first);
assert(second?.operation === "counters/increment" && second.body.value === 1, second);

// Members of a set are strings, and those of a sorted set are objects.
const batch = await client.POST("/batch", {
  body: {
    operations: [
      { type: "sadd", key: "tags", members: ["a", "b"] },
      { type: "zadd", key: "scores", members: [{ member: "alice", score: 12.5 }] },
      { type: "set", key: "name", value: "x" },
      { type: "get", key: "name" },
    ],
  },
});
assert(batch.data !== undefined, batch.error);
const results: (string | number | boolean | null | undefined)[] = batch.data.results.map((it) => it.result);
assert(JSON.stringify(results) === '[2,1,true,"x"]', results);

const read = await client.POST("/batch/get", { body: { keys: ["name", "none"] } });
const value: string | { base64: string } | null | undefined = read.data?.values["name"];
assert(value === "x" && read.data?.values["none"] === null, read);

const page = await client.GET("/accounts/{account_id}/transactions", {
  params: { path: { account_id: "alice" }, query: { limit: 1 } },
});
assert(page.data?.transactions[0]?.counterparty === "bob", page);

const missing = await client.GET("/accounts/{account_id}", { params: { path: { account_id: "carol" } } });
assert(missing.error?.code === "account_not_found" && missing.error.role === "account_id", missing);

// A stream is text, a line a command.
const line: components["schemas"]["BulkLine"] = {
  operation: "accounts/deposit",
  input: { account_id: "alice", amount: "1.00" },
  idempotency_key: "line-1",
};
const stream = await client.POST("/bulk", {
  body: JSON.stringify(line) + "\n",
  bodySerializer: (body) => body,
  headers: { "Content-Type": "application/x-ndjson" },
  parseAs: "text",
});
const result: components["schemas"]["BulkResult"] = JSON.parse(stream.data!);
assert(result.status === 201, result);
