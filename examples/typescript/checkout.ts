// A checkout in one call, sent again under its Idempotency-Key until the outcome is known.

const url = process.env.LOCKSTEP_URL ?? "http://127.0.0.1:8080";
const space = `example-${process.pid}-${Date.now()}`; // a space of its own, so that the example can run again

const sleep = (ms = 0) => new Promise((done) => setTimeout(done, ms));

async function post(path = "", body = {}, headers = {}) {
  const response = await fetch(url + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Lockstep-Space": space, ...headers },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(5000),
  });
  return { status: response.status, headers: response.headers, body: await response.json() };
}

// The key is chosen before the first attempt, and is the same in all of them.
async function checkout(key = "", order = {}) {
  for (const delay of [100, 500, 2000, 5000]) {
    try {
      const answer = await post("/atomic", order, { "Idempotency-Key": key });
      if (answer.status !== 503 && answer.status !== 504) return answer;
    } catch {
      // A timeout or a broken connection does not say whether the order has gone through.
    }
    console.log(`${key}: no result yet, sending it again`);
    await sleep(delay);
  }
  throw new Error(`${key}: the outcome is still unknown; ask again later, under the same key`);
}

async function main() {
  await post("/accounts", { account_id: "dora", initial_balance: "20.00" });
  await post("/accounts", { account_id: "shop" });
  await post("/inventory/products", { product_id: "mug", name: "Mug", price: "7.90", initial_stock: 3 });

  const { status, headers, body } = await checkout("order-1", {
    operations: [
      {
        operation: "ratelimit/check",
        input: { key: "checkout-dora", algorithm: "sliding_window", limit: 2, window_ms: 60_000 },
      },
      { operation: "inventory/reserve", input: { customer_id: "dora", product_id: "mug", quantity: 1 } },
      { operation: "counters/increment", input: { counter: "coupon-WINTER", max: 2 } },
      { operation: "accounts/transfer", input: { from_account: "dora", to_account: "shop", amount: "7.90" } },
    ],
  });
  if (status !== 200) throw new Error(`order-1: refused: ${body.detail}`);
  const left = body.results.at(-1).body.from_balance;
  const again = headers.get("Idempotent-Replayed") ? ", by an earlier attempt" : "";
  console.log(`order-1: paid 7.90, ${left} left${again}`);
}

main();
