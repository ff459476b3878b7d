// Reserve, take the payment, then confirm; where the payment fails, cancel.

const url = process.env.LOCKSTEP_URL ?? "http://127.0.0.1:8080";
const space = `example-${process.pid}-${Date.now()}`; // a space of its own, so that the example can run again

async function post(path = "", body = {}) {
  const response = await fetch(url + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Lockstep-Space": space },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(5000),
  });
  return { ok: response.ok, body: await response.json() };
}

// The payment provider, which turns dave down.
const pay = async (customer = "") => customer !== "dave";

async function buy(customer = "", quantity = 1) {
  const { ok, body } = await post("/inventory/reserve", {
    customer_id: customer,
    product_id: "cup",
    quantity,
    ttl_ms: 300_000,
  });
  if (body.code === "insufficient_stock") {
    return `${customer}: wanted ${quantity}, ${body.shortages[0].available} available`;
  }
  if (!ok) throw new Error(body.detail);
  const { reservation_id } = body;
  // Nobody else can have the units for five minutes, even if this process dies here.
  if (!(await pay(customer))) {
    await post("/inventory/cancel", { reservation_id });
    return `${customer}: payment failed, gave ${quantity} back`;
  }
  const sale = await post("/inventory/confirm", { reservation_id });
  return sale.ok
    ? `${customer}: bought ${quantity}`
    : `${customer}: too late, the payment has to be given back: ${sale.body.detail}`;
}

async function main() {
  await post("/inventory/products", { product_id: "cup", name: "Espresso cup", price: "7.90", initial_stock: 3 });
  console.log(await buy("carol", 2));
  console.log(await buy("dave", 1));
  console.log(await buy("erin", 2));
}

main();
