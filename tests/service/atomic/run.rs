use serde_json::{Value, json};

use crate::support::{Answer, Process, Service, operation, race, seed};

const DAY: u64 = 86_400_000;

fn pay(amount: &str) -> Value {
    let input = json!({ "from_account": "alice", "to_account": "bob", "amount": amount });
    operation("accounts/transfer", input)
}

fn reserve(quantity: u64) -> Value {
    let input = json!({ "customer_id": "carol", "product_id": "cup", "quantity": quantity });
    operation("inventory/reserve", input)
}

fn count(by: i64) -> Value {
    operation("counters/increment", json!({ "counter": "c", "by": by, "max": 100 }))
}

fn bucket(cost: u64) -> Value {
    let input = json!({
        "key": "b", "cost": cost, "capacity": 10, "refill_tokens": 1, "refill_interval_ms": DAY
    });
    operation("ratelimit/check", input)
}

fn window(cost: u64) -> Value {
    let input = json!({
        "key": "w", "cost": cost, "algorithm": "sliding_window", "limit": 10, "window_ms": DAY
    });
    operation("ratelimit/check", input)
}

fn unlock(lease_id: &Value) -> Value {
    operation("locks/release", json!({ "lock": "l", "lease_id": lease_id }))
}

/// Opens alice with 10.00 and bob with nothing, and adds 5 cups.
async fn shop() -> Service {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("bob", "0").await;
    service.add_product("cup", 5).await;
    service
}

fn body<'a>(answer: &'a Value, index: usize, field: &str) -> &'a Value {
    &answer["results"][index]["body"][field]
}

/// Panics unless the operation at `index` refuses the whole call, and nothing changes.
async fn expect_refusal(
    service: &Service,
    operations: &[Value],
    index: usize,
    status: u16,
    code: &str,
) -> Value {
    let before = service.snapshot();
    let refused = service.atomic(operations).await.expect_problem(status, code);
    assert_eq!(refused["operation_index"], index, "{refused:#}");
    assert_eq!(refused["operation"], operations[index]["operation"]);
    assert_eq!(refused["outcome"], "not_applied");
    service.assert_unchanged(&before);
    refused
}

#[tokio::test]
async fn each_result_equals_the_answer_of_its_own_endpoint() {
    let service = shop().await;
    let lease = service.acquire("l", "me", 60_000).await.assert(201)["lease_id"].clone();
    let operations = [pay("2.50"), reserve(2), count(1), bucket(3), window(4), unlock(&lease)];
    let together = service.atomic(&operations).await.assert(200);
    assert_eq!(together["dry_run"], false);
    assert_eq!(service.funds("alice").await, ["7.50", "7.50", "0.00"]);
    assert_eq!(service.stock("cup").await, [5, 2, 3]);
    assert_eq!(service.counter("c").await, 1);
    assert_eq!(service.sum("USD"), 0);
    assert_eq!(service.get("/locks/l").await.assert(200)["holders"], json!([]));

    // The same operations run one by one in another space with the same content.
    let single = shop().await;
    let lease = single.acquire("l", "me", 60_000).await.assert(201)["lease_id"].clone();
    let operations = [pay("2.50"), reserve(2), count(1), bucket(3), window(4), unlock(&lease)];
    for (index, operation) in operations.iter().enumerate() {
        let name = operation["operation"].as_str().unwrap();
        let path = if name == "ratelimit/check" { "/ratelimit" } else { &format!("/{name}") };
        let answer = single.post(path, operation["input"].clone()).await;
        let result = &together["results"][index];
        assert_eq!(
            (&result["operation"], &result["status"]),
            (&json!(name), &json!(answer.status.as_u16()))
        );
        assert_eq!(plain(&result["body"]), plain(&answer.body), "{name}");
    }
}

/// A body without the values that differ between two runs: generated ids, and times.
fn plain(body: &Value) -> Value {
    let mut body = body.clone();
    let fields = body.as_object_mut().unwrap();
    for field in ["transaction_id", "reservation_id", "lease_id", "created_at", "expires_at"] {
        if let Some(value) = fields.get_mut(field) {
            assert!(value.is_string());
            value.take();
        }
    }
    body
}

#[tokio::test]
async fn a_later_operation_sees_the_effect_of_an_earlier_one() {
    let service = shop().await;
    let answer = service.atomic(&[pay("4"), pay("4"), pay("2")]).await.assert(200);
    let balances: Vec<_> = (0..3).map(|index| body(&answer, index, "from_balance")).collect();
    assert_eq!(balances, ["6.00", "2.00", "0.00"]);
    let answer = service.atomic(&[reserve(2), reserve(2), reserve(1)]).await.assert(200);
    let left: Vec<_> = (0..3).map(|index| &body(&answer, index, "lines")[0]["remaining"]).collect();
    assert_eq!(left, [3, 1, 0]);
    assert_eq!(service.stock("cup").await, [5, 5, 0]);
    let answer = service.atomic(&[bucket(4), bucket(4), window(5), window(5)]).await.assert(200);
    let left: Vec<_> = (0..4).map(|index| body(&answer, index, "remaining")).collect();
    assert_eq!(left, [6, 2, 5, 0]);
    let answer = service.atomic(&[count(60), count(40)]).await.assert(200);
    assert_eq!(
        (body(&answer, 1, "previous"), body(&answer, 1, "value")),
        (&json!(60), &json!(100))
    );
    let deposit = operation("accounts/deposit", json!({ "account_id": "alice", "amount": "1" }));
    let answer = service.atomic(&[deposit.clone(), deposit, pay("2")]).await.assert(200);
    assert_eq!(body(&answer, 2, "from_balance"), "0.00");
    assert_eq!(service.sum("USD"), 0, "the outside has given both");
}

#[tokio::test]
async fn an_operation_can_use_what_an_earlier_one_created() {
    let service = shop().await;
    let open = |account: &str, balance: &str| {
        let input = json!({ "account_id": account, "initial_balance": balance });
        operation("accounts/open", input)
    };
    let product = json!({ "product_id": "pot", "name": "p", "price": "1", "initial_stock": 3 });
    let buy = json!({ "customer_id": "dora", "product_id": "pot", "quantity": 3 });
    let from_dora = json!({ "from_account": "dora", "to_account": "eve", "amount": "5" });
    let sweep = json!({ "account_id": "dora", "sweep_to": "eve" });
    let gone = json!({ "counter": "n" });
    let operations = [
        open("dora", "7"),
        open("eve", "0"),
        operation("accounts/transfer", from_dora),
        operation("accounts/close", sweep),
        operation("inventory/add_product", product),
        operation("inventory/reserve", buy),
        operation("counters/increment", json!({ "counter": "n", "by": 5 })),
        operation("counters/delete", gone),
        operation("counters/increment", json!({ "counter": "n", "initial": 10 })),
    ];
    let answer = service.atomic(&operations).await.assert(200);
    assert_eq!(body(&answer, 7, "previous"), 5);
    assert_eq!(service.balance("eve").await, "7.00");
    assert_eq!(service.get("/accounts/dora").await.assert(200)["status"], "closed");
    assert_eq!(service.stock("pot").await, [3, 3, 0]);
    assert_eq!(service.counter("n").await, 11);
    assert_eq!(service.sum("USD"), 0);
    // An account cannot be opened twice, and a closed one stays closed.
    expect_refusal(&service, &[open("frank", "1"), open("frank", "1")], 1, 409, "account_exists")
        .await;
    let close = operation("accounts/close", json!({ "account_id": "eve", "sweep_to": "alice" }));
    let back = json!({ "from_account": "alice", "to_account": "eve", "amount": "1" });
    let paid = operation("accounts/transfer", back);
    expect_refusal(&service, &[close, paid], 1, 409, "account_closed").await;
}

#[tokio::test]
async fn holds_and_reservations_end_once_within_a_call() {
    let service = shop().await;
    let hold = service.held("alice", "bob", "4").await;
    let capture = |amount: &str, last: bool| {
        let input = json!({ "hold_id": hold, "amount": amount, "final": last });
        operation("accounts/capture", input)
    };
    let release = operation("accounts/release", json!({ "hold_id": hold }));
    expect_refusal(&service, &[release.clone(), release.clone()], 1, 409, "hold_closed").await;
    let over = [capture("3", false), capture("2", false)];
    expect_refusal(&service, &over, 1, 422, "capture_exceeds_hold").await;
    // Captured money is no longer held, and released money can be spent at once.
    let answer =
        service.atomic(&[capture("3", false), release.clone(), pay("7")]).await.assert(200);
    assert_eq!(body(&answer, 2, "from_balance"), "0.00");
    assert_eq!(service.funds("alice").await, ["0.00", "0.00", "0.00"]);
    assert_eq!(service.sum("USD"), 0);

    let reserved = service.reserve("cup", 4, 600_000).await.assert(201)["reservation_id"].clone();
    let of =
        |verb: &str| operation(&format!("inventory/{verb}"), json!({ "reservation_id": reserved }));
    expect_refusal(&service, &[of("confirm"), of("cancel")], 1, 409, "reservation_closed").await;
    expect_refusal(&service, &[of("cancel"), reserve(6)], 1, 409, "insufficient_stock").await;
    service.atomic(&[of("cancel"), reserve(5)]).await.assert(200);
    assert_eq!(service.stock("cup").await, [5, 5, 0]);

    let lease = service.acquire("l", "me", 60_000).await.assert(201)["lease_id"].clone();
    let answer = service.atomic(&[unlock(&lease), unlock(&lease)]).await.assert(200);
    assert_eq!(body(&answer, 1, "released"), true);
    let paid = service.transfer("bob", "alice", "3").await.assert(201)["transaction_id"].clone();
    let reverse = operation("accounts/reverse", json!({ "transaction_id": paid, "amount": "2" }));
    let twice = [reverse.clone(), reverse];
    expect_refusal(&service, &twice, 1, 422, "reversal_exceeds_transaction").await;
}

#[tokio::test]
async fn one_refused_operation_refuses_all() {
    let service = shop().await;
    let lease = service.acquire("l", "me", 60_000).await.assert(201)["lease_id"].clone();
    let good = [pay("1"), reserve(1), count(1), bucket(1), window(1), unlock(&lease)];
    // Each operation is refused after all of the others have succeeded.
    let bad = [
        (pay("9.01"), 409, "insufficient_funds"),
        (reserve(5), 409, "insufficient_stock"),
        (count(100), 409, "counter_limit_exceeded"),
        (bucket(10), 429, "rate_limited"),
        (window(10), 429, "rate_limited"),
        (unlock(&json!("lease_x")), 403, "lease_not_owner"),
        (
            operation("accounts/deposit", json!({ "account_id": "x", "amount": "1" })),
            404,
            "account_not_found",
        ),
        (operation("accounts/capture", json!({ "hold_id": "hold_x" })), 404, "hold_not_found"),
        (pay("0.001"), 422, "amount_scale_exceeded"),
        (
            operation(
                "counters/increment",
                json!({ "counter": "c", "by": 9_007_199_254_740_991_i64 }),
            ),
            422,
            "counter_out_of_range",
        ),
    ];
    for (operation, status, code) in bad {
        let last = good.len();
        let mut operations = good.to_vec();
        operations.push(operation.clone());
        expect_refusal(&service, &operations, last, status, code).await;
    }
    for place in 0..=good.len() {
        let mut operations = good.to_vec();
        operations.insert(place, pay("11"));
        let refused = expect_refusal(&service, &operations, place, 409, "insufficient_funds").await;
        let had = if place == 0 { "10.00" } else { "9.00" };
        assert_eq!((&refused["available"], &refused["required"]), (&json!(had), &json!("11.00")));
    }
    service.atomic(&good).await.assert(200);
}

/// A denied rate limit has its headers, and refuses the whole call even where it would be answered 200
/// on its own.
#[tokio::test]
async fn a_denied_rate_limit_refuses_all() {
    let service = shop().await;
    let mut quiet = bucket(6);
    quiet["input"]["on_deny"] = "200".into();
    let operations = [pay("1"), quiet.clone(), quiet];
    let refused = expect_refusal(&service, &operations, 2, 429, "rate_limited").await;
    assert_eq!((&refused["remaining"], &refused["retryable"]), (&json!(4), &json!(true)));
    let answer = service.atomic(&operations).await;
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((2 * 86_400 - 60..=2 * 86_400).contains(&seconds), "{seconds}");
}

/// Each of two results about one reservation shows the state after its own step, and a low-stock
/// crossing is counted once, and only when the call has happened.
#[tokio::test]
async fn each_result_shows_the_product_after_its_own_step() {
    let process = Process::shared();
    let service = shop().await;
    let product = json!({ "product_id": "pot", "name": "p", "price": "1", "initial_stock": 9, "low_stock": 8 });
    service.post("/inventory/products", product).await.assert(201);
    let input = json!({ "customer_id": "carol", "product_id": "pot", "quantity": 4 });
    let take = operation("inventory/reserve", input);
    let send = async |operations: &[Value], dry_run: bool, key: &str| {
        let body = json!({ "operations": operations, "dry_run": dry_run });
        process.post(&service.space, "/atomic", &body, key).await.unwrap()
    };
    let low = async || {
        let text = process.get_text("/metrics").await;
        let line = text.lines().find_map(|line| {
            line.strip_prefix("lockstep_low_stock_crossings_total{direction=\"below\"} ")
        });
        line.unwrap_or("0").to_owned()
    };
    send(&[take.clone(), count(1)], true, "dry").await.assert(200);
    send(&[take.clone(), count(101)], false, "refused")
        .await
        .expect_problem(409, "counter_limit_exceeded");
    assert_eq!(low().await, "0");
    let answer = send(&[take.clone(), count(1)], false, "real").await.assert(200);
    assert_eq!(body(&answer, 0, "lines")[0]["low_stock"], true);
    assert!(send(&[take, count(1)], false, "real").await.replayed());
    assert_eq!(low().await, "1");

    let reservation = body(&answer, 0, "reservation_id").clone();
    let part = json!({
        "reservation_id": reservation, "remainder": "keep", "lines": [{ "product_id": "pot", "quantity": 1 }]
    });
    let more = json!({ "product_id": "pot", "delta": 50, "reason": "received" });
    let longer = json!({ "reservation_id": reservation, "ttl_ms": 600_000 });
    let operations = [
        operation("inventory/confirm", part),
        operation("inventory/adjust", more),
        operation("inventory/extend", longer),
    ];
    let answer = send(&operations, false, "twice").await.assert(200);
    assert_eq!(body(&answer, 0, "lines")[0]["remaining"], 5);
    assert_eq!(body(&answer, 1, "low_stock"), false);
    let line = &body(&answer, 2, "lines")[0];
    assert_eq!((line.get("remaining"), line.get("low_stock")), (None, None));
}

#[tokio::test]
async fn a_dry_run_has_the_same_answer_and_no_effect() {
    let service = shop().await;
    let before = service.snapshot();
    let operations = [pay("10"), reserve(5), count(7), bucket(10), window(10)];
    let dry = |operations: &[Value]| json!({ "operations": operations, "dry_run": true });
    let mut found = Vec::new();
    for key in ["k", "k", "l"] {
        let answer = service.post("/atomic", dry(&operations)).key(key).await;
        assert!(!answer.replayed(), "nothing has happened that could be remembered");
        found.push(answer.assert(200));
        service.assert_unchanged(&before);
    }
    let mut bad = operations.to_vec();
    bad.push(count(94));
    let refused =
        service.post("/atomic", dry(&bad)).await.expect_problem(409, "counter_limit_exceeded");
    assert_eq!((&refused["operation_index"], &refused["value"]), (&json!(5), &json!(7)));
    service.assert_unchanged(&before);

    let real = service.post("/atomic", json!({ "operations": operations })).key("k").await;
    let real = real.assert(200);
    assert_eq!((&found[0]["dry_run"], &real["dry_run"]), (&json!(true), &json!(false)));
    for index in 0..operations.len() {
        let [dry, real] = [&found[0], &real].map(|answer| plain(&answer["results"][index]["body"]));
        assert_eq!(dry, real);
    }
    // The ids of a dry run exist nowhere.
    let id = body(&found[0], 0, "transaction_id").as_str().unwrap();
    let unknown = service.get(&format!("/accounts/transactions/{id}")).await;
    unknown.expect_problem(404, "transaction_not_found");
}

#[tokio::test]
async fn a_problem_points_to_the_invalid_field() {
    let service = shop().await;
    let with = |index: usize, pointer: &str, value: Value| {
        let mut body = json!({ "operations": [pay("1"), count(1), bucket(1)] });
        *body["operations"][index].pointer_mut(pointer).unwrap() = value;
        body
    };
    let typo = |index: usize| {
        let mut body = json!({ "operations": [pay("1"), pay("1")] });
        body["operations"][index]["input"]["amuont"] = "1".into();
        body
    };
    let deep = json!({ "operations": [pay("1"), {
        "operation": "inventory/reserve",
        "input": { "customer_id": "c", "lines": [{ "product_id": "cup", "quantity": 1, "colour": "red" }] }
    }] });
    let before = service.snapshot();
    for (body, code, pointer, index) in [
        (with(1, "/input/by", json!(0)), "validation_failed", "/operations/1/input/by", Some(1)),
        (
            with(0, "/input/amount", json!(1)),
            "invalid_amount",
            "/operations/0/input/amount",
            Some(0),
        ),
        (
            with(0, "/input/amount", json!("-1")),
            "amount_not_positive",
            "/operations/0/input/amount",
            Some(0),
        ),
        (
            with(0, "/input/to_account", json!("a/b")),
            "invalid_id",
            "/operations/0/input/to_account",
            Some(0),
        ),
        (
            with(2, "/input/capacity", json!("ten")),
            "validation_failed",
            "/operations/2/input/capacity",
            Some(2),
        ),
        (typo(1), "unknown_field", "/operations/1/input/amuont", Some(1)),
        (deep, "unknown_field", "/operations/1/input/lines/0/colour", Some(1)),
        (
            with(1, "/operation", json!("accounts/get")),
            "validation_failed",
            "/operations/1/operation",
            Some(1),
        ),
        (
            with(1, "/operation", json!("accounts/update")),
            "validation_failed",
            "/operations/1/operation",
            Some(1),
        ),
        (
            with(1, "/operation", json!("locks/acquire")),
            "validation_failed",
            "/operations/1/operation",
            Some(1),
        ),
        (
            with(1, "/operation", json!("atomic/run")),
            "validation_failed",
            "/operations/1/operation",
            Some(1),
        ),
        (
            with(1, "/operation", json!("batch/run")),
            "validation_failed",
            "/operations/1/operation",
            Some(1),
        ),
        (
            with(1, "/operation", json!("accounts/expire")),
            "validation_failed",
            "/operations/1/operation",
            Some(1),
        ),
        (
            with(1, "/operation", json!("/counters/increment")),
            "validation_failed",
            "/operations/1/operation",
            Some(1),
        ),
        (with(1, "/operation", json!(1)), "validation_failed", "/operations/1/operation", None),
        (with(1, "/input", json!([])), "validation_failed", "/operations/1/input", Some(1)),
        (with(1, "/input", json!("{}")), "validation_failed", "/operations/1/input", Some(1)),
        (with(1, "/input", Value::Null), "validation_failed", "/operations/1/input", Some(1)),
        (with(1, "", json!([])), "validation_failed", "/operations/1", None),
        (
            with(1, "", json!(["counters/increment", { "counter": "c" }])),
            "validation_failed",
            "/operations/1",
            None,
        ),
        (json!({ "operations": [] }), "validation_failed", "/operations", None),
        (json!({ "operations": [pay("1")] }), "validation_failed", "/operations", None),
        (json!({ "operations": vec![count(1); 129] }), "validation_failed", "/operations", None),
        (
            json!({ "operations": [pay("1"), pay("1")], "dry_run": 1 }),
            "validation_failed",
            "/dry_run",
            None,
        ),
        (
            json!({ "operations": [pay("1"), pay("1")], "atomic": true }),
            "unknown_field",
            "/atomic",
            None,
        ),
        (json!({}), "validation_failed", "/operations", None),
    ] {
        let refused = service.post("/atomic", body).await.expect_problem(422, code);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
        assert_eq!(refused.get("operation_index"), index.map(Value::from).as_ref(), "{refused:#}");
    }
    // The decimals of an amount are checked against the currency of the account.
    let refused = service.atomic(&[count(1), pay("0.001")]).await;
    let refused = refused.expect_problem(422, "amount_scale_exceeded");
    assert_eq!(refused["errors"][0]["pointer"], "/operations/1/input/amount");
    let body = json!({ "operations": [pay("1"), pay("1")] }).to_string() + "x";
    let request = axum::http::Request::post("/atomic").header("content-type", "application/json");
    let answer = service.send(request.body(body.into()).unwrap()).await;
    answer.expect_problem(400, "malformed_json");
    service.assert_unchanged(&before);
}

#[tokio::test]
async fn accepts_at_most_128_operations_and_the_keys_of_one_script() {
    let service = shop().await;
    let answer = service.atomic(&vec![count(1); 100]).await.assert(200);
    assert_eq!(body(&answer, 99, "value"), 100);
    let more = operation("counters/increment", json!({ "counter": "d" }));
    let answer = service.atomic(&vec![more; 128]).await.assert(200);
    assert_eq!(body(&answer, 127, "value"), 128);
    service.atomic(&vec![pay("0.01"); 128]).await.assert(200);
    assert_eq!(service.balance("bob").await, "1.28");
    // Many reservations of 100 lines are more keys than one script may have.
    let lines: Vec<Value> =
        (0..100).map(|n| json!({ "product_id": format!("p{n}"), "quantity": 1 })).collect();
    let input = json!({ "customer_id": "carol", "lines": lines });
    let large = operation("inventory/reserve", input);
    let before = service.snapshot();
    let body = json!({ "operations": vec![large; 6] });
    let refused = service.post("/atomic", body).await.expect_problem(422, "validation_failed");
    assert_eq!(refused["errors"][0]["pointer"], "/operations");
    service.assert_unchanged(&before);
    // Few keys and many arguments exceed the limit as well, although each operation is valid.
    let input = json!({ "reservation_id": "res_x", "lines": lines });
    let body = json!({ "operations": vec![operation("inventory/confirm", input); 40] });
    let refused = service.post("/atomic", body).await.expect_problem(422, "validation_failed");
    assert_eq!(refused["errors"][0]["pointer"], "/operations");
}

#[tokio::test]
async fn the_idempotency_key_stands_for_the_whole_call() {
    let service = shop().await;
    let send = async |operations: &[Value], key: &str| -> Answer {
        service.post("/atomic", json!({ "operations": operations })).key(key).await
    };
    let operations = [pay("1"), reserve(1), count(1), bucket(1), window(1)];
    let first = send(&operations, "k").await.assert(200);
    let before = service.snapshot();
    for _ in 0..2 {
        let again = send(&operations, "k").await;
        assert!(again.replayed());
        assert_eq!(again.assert(200), first);
    }
    // A call with another operation, another order or another number of operations is another call.
    let mut other = operations.clone();
    other[2] = count(2);
    let mut swapped = operations.clone();
    swapped.swap(0, 2);
    for other in [other.as_slice(), &swapped, &operations[..4]] {
        send(other, "k").await.expect_problem(422, "idempotency_key_reused");
    }
    let single = service.post("/accounts/transfer", operations[0]["input"].clone()).key("k").await;
    single.expect_problem(422, "idempotency_key_reused");
    service.assert_unchanged(&before);

    // A refusal that depends on the state is recorded with the index of its operation.
    let poor = [count(1), pay("10")];
    let first = send(&poor, "poor").await.expect_problem(409, "insufficient_funds");
    service.post("/accounts/deposit", json!({ "account_id": "alice", "amount": "100" })).await;
    let again = send(&poor, "poor").await;
    assert!(again.replayed());
    let again = again.expect_problem(409, "insufficient_funds");
    assert_eq!((&again["operation_index"], &again["available"]), (&json!(1), &first["available"]));
    assert_eq!(service.counter("c").await, 1);
    // A denied rate limit is not recorded, and neither is an invalid amount.
    let denied = [count(1), bucket(10)];
    send(&denied, "denied").await.expect_problem(429, "rate_limited");
    send(&[count(1), pay("0.001")], "scale").await.expect_problem(422, "amount_scale_exceeded");
    service.advance_ms(10 * i64::try_from(DAY).unwrap());
    assert!(!send(&denied, "denied").await.replayed());
    send(&[count(1), pay("0.01")], "scale").await.assert(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_sends_under_one_key_have_one_effect() {
    let service = shop().await;
    let tasks = race(64, |_| {
        let body = json!({ "operations": [pay("1"), reserve(1), count(1), window(1)] });
        service.post("/atomic", body).key("k")
    });
    let answers = tasks.await;
    assert_eq!(answers.replayed(), 63);
    answers.assert_all_equal(200);
    assert_eq!(service.balance("bob").await, "1.00");
    assert_eq!(service.stock("cup").await, [5, 1, 4]);
    assert_eq!(service.counter("c").await, 1);
}

/// A foreign value under a key of one operation prevents all of them.
#[tokio::test]
async fn a_foreign_record_refuses_all() {
    for (kind, id, planted) in [
        ("account", "bob", "list"),
        ("account", "bob", "string"),
        ("postings", "alice", "hash"),
        ("product", "cup", "zset"),
        ("product_holds", "cup", "list"),
        ("movements", "cup", "string"),
        ("counter", "c", "string"),
        ("limit", "/bucket/b", "hash"),
        ("limit_log", "/window-86400000/w", "string"),
        ("external", "accounts", "list"),
        ("once", "k", "set"),
    ] {
        let service = shop().await;
        let deposit =
            operation("accounts/deposit", json!({ "account_id": "alice", "amount": "1" }));
        let operations = [count(1), pay("1"), reserve(1), bucket(1), window(1), deposit];
        seed(&mut service.raw(), &service.key(kind, id), planted, "1");
        let before = service.snapshot();
        let body = json!({ "operations": operations });
        let answer = service.post("/atomic", body).key("k").await;
        assert_eq!(answer.status.as_u16(), 500, "{kind}:{id} {:#}", answer.body);
        answer.expect_problem(500, "internal_error");
        service.assert_unchanged(&before);
    }
}

/// There are more expired holds than one script reclaims, so they are reclaimed before the call, in
/// parts; the answer counts all of them.
#[tokio::test(flavor = "multi_thread")]
async fn expired_holds_are_reclaimed_before_the_operations_run() {
    let service = Service::new();
    service.open("alice", "3000").await;
    service.open("bob", "3000").await;
    service.add_product("cup", 3000).await;
    race(64, |caller| {
        let service = service.clone();
        async move {
            for number in (caller..7500).step_by(64) {
                let call = match number % 3 {
                    0 => service.hold("alice", "bob", "1", 60_000),
                    1 => service.hold("bob", "alice", "1", 60_000),
                    _ => service.reserve("cup", 1, 60_000),
                };
                call.await.assert(201);
            }
        }
    })
    .await;
    let all = |amount: &str, quantity: u64| [pay(amount), reserve(quantity), count(1)];
    expect_refusal(&service, &all("501", 1), 0, 409, "insufficient_funds").await;
    service.advance_ms(60_000);
    let answers = race(3, |_| service.atomic(&all("1000", 1000))).await;
    assert_eq!(answers.count(200), 3);
    assert_eq!(service.funds("alice").await, ["0.00", "0.00", "0.00"]);
    assert_eq!(service.funds("bob").await, ["6000.00", "6000.00", "0.00"]);
    assert_eq!(service.stock("cup").await, [3000, 3000, 0]);
    assert_eq!(service.counter("c").await, 3);
}
