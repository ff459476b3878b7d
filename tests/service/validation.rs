//! Tests of invalid input: each is answered with the right 4xx, and changes nothing.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};

use crate::{
    catalogue::{Seed, Seeded, catalogue},
    support::{Answer, Service},
};

/// Sends a body of any content type with a method of any kind.
async fn send(
    service: &Service,
    (method, path): (&str, &str),
    kind: &str,
    body: impl Into<Body>,
) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .header("lockstep-space", &service.space)
        .body(body.into());
    service.send(request.unwrap()).await
}

#[tokio::test]
async fn every_command_refuses_a_body_that_is_no_json_object() {
    let seeded = Seeded::new(&Service::new(), &[Seed::RootKey]).await;
    let service = &seeded.service;
    for entry in catalogue().iter().filter(|entry| !entry.body.is_null()) {
        let path = seeded.fill(entry.path).replace("{key_id}", "unknown");
        let to = (entry.method, path.as_str());
        let json = "application/json";
        for text in ["", "{", "nope", "{'a':1}", "\u{0}", "[1,]"] {
            send(service, to, json, text).await.expect_problem(400, "malformed_json");
        }
        let invalid_utf8 = [b"{\"\xff\":\"\"}".as_slice(), b"\xff\xfe"].map(<[u8]>::to_vec);
        for bytes in invalid_utf8 {
            send(service, to, json, bytes).await.expect_problem(400, "malformed_json");
        }
        let deep = "[".repeat(100_000);
        assert!(send(service, to, json, deep).await.status.is_client_error());
        for kind in ["text/plain", "", "application/jsonx", "application/x-www-form-urlencoded"] {
            send(service, to, kind, "{}").await.expect_problem(415, "unsupported_media_type");
        }
        for kind in ["application/json; charset=utf-8", "Application/JSON"] {
            // A change that names nothing is a valid body.
            let answer = send(service, to, kind, "{}").await;
            match entry.method {
                "PATCH" => assert_eq!(answer.status.as_u16(), 404, "{path}"),
                // Nor has a run to name anything.
                _ if path.ends_with("/run") => assert_eq!(answer.status.as_u16(), 404, "{path}"),
                _ => drop(answer.expect_problem(422, "validation_failed")),
            }
        }
        for value in ["null", "1", "\"x\"", "[]", "[\"a\",\"b\",\"1\"]"] {
            send(service, to, json, value).await.expect_problem(422, "validation_failed");
        }
        // A value of the cache may have a megabyte, and six bytes of JSON a byte.
        let is_value = matches!(entry.name, "cache/fill" | "cache/set");
        let length = if is_value { 7 << 20 } else { 1 << 20 };
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(length));
        send(service, to, json, large).await.expect_problem(413, "payload_too_large");
        let refused = send(service, to, json, "{\"zzz\":1}").await;
        assert_eq!(refused.expect_problem(422, "unknown_field")["errors"][0]["pointer"], "/zzz");
    }
    assert!(service.snapshot().is_empty());
}

#[tokio::test]
async fn ids_cannot_contain_characters_of_a_key() {
    let service = Service::new();
    for id in [
        "",
        "a{b}",
        "{other}",
        "a}b",
        ":a",
        "a b",
        "a\nb",
        "a\u{0}",
        "a/b",
        "é",
        "a\"b",
        &"x".repeat(129),
    ] {
        let body = json!({ "account_id": id });
        let refused = service.post("/accounts", body).await.expect_problem(422, "invalid_id");
        assert_eq!(refused["errors"][0]["pointer"], "/account_id");
    }
    assert!(service.snapshot().is_empty());
    // Colons are allowed in ids, because the kind comes before the id in a key.
    for id in ["a:", "a:b", "alice:postings", "x::y", "a@b"] {
        service.open(id, "1").await;
        assert_eq!(service.balance(id).await, "1.00");
    }
    assert_eq!(service.sum("USD"), 0);
}

#[tokio::test]
async fn ids_in_paths_and_headers_are_validated() {
    let service = Service::new();
    for path in [
        "/accounts/a%7Bb",
        "/accounts/%00",
        "/accounts/a%20b/balance",
        "/locks/%7B%7D",
        "/inventory/products/%C3%A9",
        "/inventory/reservations/a%2Fb",
        "/accounts/%ff",
    ] {
        service.get(path).await.expect_problem(422, "invalid_id");
    }
    for space in ["a}b", "", "{x}", "a b"] {
        let answer = service.post("/accounts", json!({ "account_id": "a" })).await;
        answer.assert(if space == "a}b" { 201 } else { 409 });
        let request = Request::get("/accounts/a").header("lockstep-space", space);
        let refused = service.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(refused.expect_problem(422, "invalid_id")["header"], "Lockstep-Space");
    }
}

#[tokio::test]
async fn pointers_name_the_invalid_value() {
    let service = Service::new();
    let order = |change: (&str, Value)| {
        let mut body = json!({
            "customer_id": "c", "lines": [{ "product_id": "a", "quantity": 1 }, { "product_id": "b", "quantity": 1 }]
        });
        *body.pointer_mut(change.0).unwrap() = change.1;
        body
    };
    for (pointer, value) in [
        ("/lines/1/quantity", json!(0)),
        ("/lines/0/product_id", json!("{}")),
        ("/customer_id", json!(7)),
        ("/lines", json!({})),
    ] {
        let answer = service.post("/inventory/reserve", order((pointer, value))).await;
        assert_eq!(answer.status.as_u16(), 422);
        assert_eq!(answer.body["errors"][0]["pointer"], pointer);
    }
    let missing =
        service.post("/accounts/transfer", json!({ "from_account": "a", "to_account": "b" })).await;
    assert_eq!(missing.expect_problem(422, "validation_failed")["errors"][0]["pointer"], "/amount");
    let twice = send(
        &service,
        ("POST", "/accounts"),
        "application/json",
        r#"{"account_id":"a","account_id":"b"}"#,
    )
    .await;
    twice.expect_problem(422, "validation_failed");
}

#[tokio::test]
async fn metadata_is_bounded_and_kept_exactly() {
    let service = Service::new();
    let many: serde_json::Map<_, _> = (0..51).map(|key| (key.to_string(), "x".into())).collect();
    for metadata in
        [json!({ "a": "x".repeat(8192) }), Value::Object(many), json!({ "a": null }), json!([])]
    {
        let body = json!({ "account_id": "a", "metadata": metadata });
        service.post("/accounts", body).await.expect_problem(422, "validation_failed");
    }
    let odd = json!({ "\"}],": "\\\"\n\u{1f600}", "metadata": "{\"x\":1}", "": "" });
    let body = json!({ "account_id": "a", "metadata": odd });
    assert_eq!(service.post("/accounts", body).await.assert(201)["metadata"], odd);
    assert_eq!(service.get("/accounts/a").await.assert(200)["metadata"], odd);
    let body = json!({ "lock": "l", "owner": "\",\"expires_at\":1", "metadata": odd });
    service.post("/locks", body).await.assert(201);
    let seen = service.get("/locks/l").await.assert(200);
    assert_eq!(
        (&seen["holders"][0]["metadata"], &seen["holders"][0]["owner"]),
        (&odd, &json!("\",\"expires_at\":1"))
    );
}

#[tokio::test]
async fn unknown_routes_and_methods_are_refused() {
    let service = Service::new();
    for path in ["/nope", "/accounts/a/b/c", "/v1/accounts", "/atomic/run"] {
        service.get(path).await.expect_problem(404, "route_not_found");
    }
    service.get("/problems/nope").await.expect_problem(404, "route_not_found");
    let put = Request::put("/accounts").body(Body::empty()).unwrap();
    let answer = service.send(put).await;
    assert_eq!(answer.header("allow"), Some("POST,GET,HEAD"));
    answer.expect_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn a_valid_request_id_is_returned() {
    let service = Service::new();
    let answer = service.post("/accounts", json!({})).header("x-request-id", "abc-123").await;
    assert_eq!(answer.expect_problem(422, "validation_failed")["request_id"], "abc-123");
    for bad in ["a b", "", &"x".repeat(129)] {
        let answer = service.post("/accounts", json!({})).header("x-request-id", bad).await;
        assert_ne!(answer.header("x-request-id"), Some(bad));
        assert!(!answer.header("x-request-id").unwrap().is_empty());
    }
}

#[tokio::test]
async fn unknown_query_parameters_are_refused() {
    let service = Service::new();
    service.open("alice", "1").await;
    let before = service.snapshot();
    let body = json!({ "account_id": "alice" });
    for path in ["/accounts/freeze?direction=debits", "/accounts/freeze?x"] {
        service.post(path, body.clone()).await.expect_problem(400, "invalid_query");
    }
    for path in ["/accounts/alice?x=1", "/accounts/alice/balance?x=1", "/accounts/integrity?x"] {
        service.get(path).await.expect_problem(400, "invalid_query");
    }
    service.assert_unchanged(&before);
    service.get("/accounts/alice?").await.assert(200);
}

#[tokio::test]
async fn two_space_headers_are_refused() {
    let service = Service::new();
    let call = service.post("/accounts", json!({ "account_id": "alice" }));
    let answer = call.header("lockstep-space", "another").await;
    assert_eq!(answer.expect_problem(422, "invalid_id")["header"], "Lockstep-Space");
    assert!(service.snapshot().is_empty());
}

#[tokio::test]
async fn duplicate_metadata_entries_are_refused() {
    let service = Service::new();
    let text = r#"{ "account_id": "alice", "metadata": { "a": "1", "b": "2", "a": "3" } }"#;
    let refused = send(&service, ("POST", "/accounts"), "application/json", text).await;
    let refused = refused.expect_problem(422, "validation_failed");
    assert_eq!(refused["errors"][0]["detail"], "The name \"a\" is given twice.");
}

#[tokio::test]
async fn type_errors_use_the_names_of_json() {
    let service = Service::new();
    for (ttl_ms, said) in [
        (json!("1"), "Invalid type: string \"1\", expected a whole number."),
        (json!([]), "Invalid type: array, expected a whole number."),
        (json!({}), "Invalid type: object, expected a whole number."),
    ] {
        let body =
            json!({ "from_account": "a", "to_account": "b", "amount": "1", "ttl_ms": ttl_ms });
        let refused =
            service.post("/accounts/hold", body).await.expect_problem(422, "validation_failed");
        assert_eq!(refused["errors"][0]["detail"], said);
    }
    let value = json!({ "key": "k", "value": "v", "ttl_ms": 1 });
    for (field, wrong, said) in [
        ("stale_ms", json!(-5), "Invalid value: integer `-5`, expected a whole number from 0."),
        (
            "version",
            json!(1.5),
            "Invalid type: floating point `1.5`, expected a whole number from 0.",
        ),
        ("tags", json!("t"), "Invalid type: string \"t\", expected an array."),
        ("value", json!([]), "Invalid type: array, expected a string."),
    ] {
        let mut body = value.clone();
        body[field] = wrong;
        let refused = service.post("/cache/set", body).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert_eq!(refused["errors"][0]["detail"], said);
    }
}
