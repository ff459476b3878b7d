// Cache-aside without its races: one caller computes a value, the others wait, and what is too late is not stored.

const url = process.env.LOCKSTEP_URL ?? "http://127.0.0.1:8080";
const space = `example-${process.pid}-${Date.now()}`; // a space of its own, so that the example can run again
const key = "alice:summary";
let computed = 0;

async function send(method = "", path = "", body = {}) {
  const response = await fetch(url + path, {
    method,
    headers: { "Content-Type": "application/json", "Lockstep-Space": space },
    body: method === "POST" ? JSON.stringify(body) : undefined,
    signal: AbortSignal.timeout(30_000), // longer than the longest wait for a value
  });
  return { ok: response.ok, body: await response.json() };
}

async function post(path = "", body = {}) {
  const answer = await send("POST", path, body);
  if (!answer.ok) throw new Error(answer.body.detail);
  return answer.body;
}

// Returns the value of a key, and computes it where this caller is the one to do so.
async function cached(key = "", compute = async () => "") {
  for (;;) {
    const answer = await post("/cache/get", { key, lease_ms: 20_000, wait_ms: 20_000 });
    if (!answer.lease_token) {
      if (answer.hit) return String(answer.value);
      continue; // The one who fills it takes long. The end of its lease gives another caller one.
    }
    const value = await compute();
    const fill = { key, lease_token: answer.lease_token, value, ttl_ms: 60_000 };
    const { ok, body } = await send("POST", "/cache/fill", { ...fill, stale_ms: 600_000, tags: ["account:alice"] });
    if (ok) return value;
    if (body.code !== "cache_lease_lost") throw new Error(body.detail);
    // Something has changed since the value was read.
  }
}

async function summary() {
  computed += 1;
  const { body } = await send("GET", "/accounts/alice/balance");
  return `alice has ${body.balance}`;
}

async function main() {
  await post("/accounts", { account_id: "alice", initial_balance: "20.00" });
  await post("/accounts", { account_id: "bob" });

  // Many ask at once, and one of them computes.
  const values = await Promise.all(Array.from({ length: 20 }, () => cached(key, summary)));
  console.log(`${values.length} callers: ${values[0]}, computed ${computed} time`);

  // The money moves, and in the same step the view of it is gone.
  const transfer = { from_account: "alice", to_account: "bob", amount: "5.00" };
  await post("/atomic", {
    operations: [
      { operation: "accounts/transfer", input: transfer },
      { operation: "cache/invalidate", input: { tags: ["account:alice"] } },
    ],
  });
  console.log(`after the transfer: ${await cached(key, summary)}`);

  // A reader that was slow does not put back what it has read before.
  await post("/cache/invalidate", { keys: [key] });
  const slow = await post("/cache/get", { key });
  await post("/cache/invalidate", { keys: [key] });
  const late = { key, lease_token: slow.lease_token, value: "old", ttl_ms: 60_000 };
  const { ok, body } = await send("POST", "/cache/fill", late);
  if (!ok) console.log(`the slow reader: ${body.code}`);
  console.log(`everybody else: ${await cached(key, summary)}`);
}

main();
