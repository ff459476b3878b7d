//! What holds for the HTTP of every path: problems for whatever is wrong, methods, validators, what may be
//! kept, where a new resource is, and names that a path would hide.

use axum::{body::Body, http::Request};
use lockstep::{
    api::{Limits, ShutdownGate},
    app,
};
use serde_json::{Value, json};

use crate::{
    catalogue::{Seeded, catalogue},
    support::{Answer, HOUR, Service},
};

/// The same service behind a base path.
fn based(service: &Service, base_path: &str) -> Service {
    let shape = app::RouterSettings {
        base_path: base_path.to_owned(),
        body_limit_bytes: 262_144,
        ..app::RouterSettings::default()
    };
    let mut based = service.clone();
    based.set_router(app::app(service.store.clone(), ShutdownGate::new(Limits::default()), &shape));
    based
}

#[tokio::test]
async fn whatever_is_no_path_is_a_problem() {
    let service = Service::new();
    for (base, service) in [
        ("", service.clone()),
        ("/money", based(&service, "/money")),
        ("/a/b", based(&service, "/a/b")),
    ] {
        for path in [
            "/nope",
            "/problems/%FF",
            "/problems/nope",
            "/docs/%FF",
            "/docs/nope.js",
            "/accounts/",
            "/accounts/a/b/c",
            "//",
            "/%FF",
            "/accounts/a/%FF",
        ] {
            let answer = service.get(&format!("{base}{path}")).await;
            assert_eq!(answer.status, 404, "{base}{path}");
            assert_eq!(answer.headers["content-type"], "application/problem+json", "{base}{path}");
            assert_eq!(answer.body["type"], format!("{base}/problems/route_not_found"));
        }
        service.get(&format!("{base}/accounts/%FF")).await.assert(422);
    }
}

/// Everything is inside of the prefix, and nothing beside it.
#[tokio::test]
async fn a_base_path_stands_before_every_path() {
    let service = Service::new();
    for base in ["/money", "/a/b"] {
        let service = based(&service, base);
        let place = |answer: Answer| {
            assert_eq!(answer.status, 307);
            answer.header("location").unwrap().to_owned()
        };
        let last = base.rsplit('/').next().unwrap();
        // Relative to the path of the request, so that a gateway may strip a prefix.
        assert_eq!(place(service.get(base).await), format!("{last}/docs/"));
        assert_eq!(place(service.get(&format!("{base}/")).await), "docs/");
        assert_eq!(place(service.get(&format!("{base}/docs")).await), "docs/");
        let page = service.get(&format!("{base}/docs/")).await;
        assert!(page.status == 200 && page.bytes.windows(10).any(|text| text == b"swagger-ui"));
        let problem = service.get(&format!("{base}/accounts/nobody")).await.assert(404);
        service.get(problem["type"].as_str().unwrap()).await.assert(200);
        for path in ["/", "/docs/", "/livez", "/moneyx", "/a"] {
            assert_eq!(service.get(path).await.status, 404, "{path}");
        }
        let opened = service
            .post(&format!("{base}/accounts"), json!({ "account_id": format!("of-{last}") }))
            .await;
        let place = opened.header("location").unwrap().to_owned();
        assert_eq!(place, format!("{base}/accounts/of-{last}"));
        service.get(&place).await.assert(200);
    }
    assert_eq!(service.get("/").await.header("location"), Some("docs/"));
    assert_eq!(service.get("/docs").await.header("location"), Some("docs/"));
}

/// Each path of the document names its methods, to `OPTIONS` and beside a 405.
#[tokio::test]
async fn every_path_names_its_methods() {
    let service = Service::new();
    let document = app::document("");
    for (path, methods) in document["paths"].as_object().unwrap() {
        let mut expected: Vec<String> =
            methods.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        if expected.contains(&"GET".to_owned()) {
            expected.push("HEAD".to_owned());
        }
        expected.sort();
        let path = path.replace(['{', '}'], "");
        let allowed = |answer: &Answer| {
            let allow = answer.header("allow").unwrap();
            let mut methods: Vec<_> = allow.split(',').map(|name| name.trim().to_owned()).collect();
            methods.sort();
            methods
        };
        let options = service.call("OPTIONS", &path).await;
        assert_eq!((options.status.as_u16(), options.bytes.len()), (204, 0), "{path}");
        assert_eq!(allowed(&options), expected, "{path}");
        for method in ["TRACE", "BREW"] {
            let refused = service.call(method, &path).await;
            assert_eq!(allowed(&refused), expected, "{method} {path}");
            refused.expect_problem(405, "method_not_allowed");
        }
    }
    service.call("OPTIONS", "/nope").await.expect_problem(404, "route_not_found");
}

/// Every call of the catalogue: an answer with an ETag may be kept and asked about again, and every
/// other may not be kept. What a 201 has made is where its `Location` says.
#[tokio::test]
async fn every_answer_says_who_may_keep_it() {
    let service = Service::new();
    // A lease has no GET of its own.
    let without_place = ["locks/acquire"];
    let document = app::document("");
    for entry in catalogue() {
        let seeded = Seeded::new(&service, entry.needs).await;
        let answer = seeded.call(&entry).await;
        let name = entry.name;
        assert!(answer.status.is_success(), "{name}");
        let expected = match answer.header("etag") {
            Some(_) => "private, no-cache",
            None => "no-store",
        };
        assert_eq!(answer.header("cache-control"), Some(expected), "{name}");
        let place = answer.header("location").map(str::to_owned);
        let has_place = answer.status == 201 && !without_place.contains(&name);
        assert_eq!(place.is_some(), has_place, "{name}");
        if let Some(place) = place {
            seeded.service.get(&place).await.assert(200);
        }
        let path = entry.path.split('?').next().unwrap();
        let declared = &document["paths"][path][entry.method.to_lowercase()]["responses"]
            [answer.status.as_str()]["headers"];
        assert_eq!(declared["ETag"].is_object(), answer.header("etag").is_some(), "{name}");
        assert_eq!(declared["Location"].is_object(), has_place, "{name}");
        if entry.method == "GET"
            && let Some(tag) = answer.header("etag").map(str::to_owned)
        {
            let again = seeded.call(&entry).header("if-none-match", &tag).await;
            assert_eq!((again.status.as_u16(), again.bytes.len()), (304, 0), "{name}");
            assert_eq!(again.header("etag"), Some(tag.as_str()), "{name}");
            assert_eq!(again.header("cache-control"), Some("private, no-cache"), "{name}");
        }
    }
    let refused = service.get("/accounts/nobody").await;
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    for path in ["/livez", "/readyz", "/metrics", "/problems"] {
        assert_eq!(service.get(path).await.header("cache-control"), Some("no-store"), "{path}");
    }
    for path in ["/docs/", "/docs/swagger-ui.css", "/openapi.json"] {
        let kept = service.get(path).await.header("cache-control").unwrap().to_owned();
        assert_eq!(kept, "public, no-cache", "{path}");
    }
}

#[tokio::test]
async fn a_copy_is_good_only_under_its_tag() {
    let service = Service::new();
    service.open("alice", "10").await;
    let tag = service.get("/accounts/alice").await.header("etag").unwrap().to_owned();
    let asked = |tags: &str| service.get("/accounts/alice").header("if-none-match", tags);
    for tags in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        assert_eq!(asked(&tags).await.status, 304, "{tags}");
    }
    let head = service.call("HEAD", "/accounts/alice").header("if-none-match", &tag).await;
    assert_eq!(head.status, 304);
    for tags in ["\"x\"", "", "\"00\"", tag.trim_matches('"')] {
        asked(tags).await.assert(200);
    }
    service.deposit("alice", "1").await.assert(201);
    asked(&tag).await.assert(200);
    // Only a read is answered so.
    let changed = service.patch("/accounts/alice", json!({ "overdraft_limit": "1" }));
    changed.header("if-none-match", "*").await.assert(200);
}

/// A hold and a reservation that end at their time change the answer, and so its ETag, while the version
/// stays. Whoever names the version in `If-Match` may still change it.
#[tokio::test]
async fn a_tag_changes_whenever_the_answer_does() {
    let service = Service::new();
    service.open("alice", "10").await;
    service.open("bob", "0").await;
    service.add_product("cup", 10).await;
    let read = async |path: &str| {
        let answer = service.get(path).await;
        let tag = answer.header("etag").unwrap().to_owned();
        (tag, answer.assert(200))
    };
    let account = "/accounts/alice";
    let product = "/inventory/products/cup";
    for (path, held, field) in [(account, true, "available"), (product, false, "available")] {
        let mut seen: Vec<(String, Value)> = vec![read(path).await];
        match held {
            true => service.hold("alice", "bob", "4", 1000).await.assert(201),
            false => service.reserve("cup", 4, 1000).await.assert(201),
        };
        seen.push(read(path).await);
        service.advance_ms(2000);
        seen.push(read(path).await);
        let (kept, ended) = (&seen[1], &seen[2]);
        assert_eq!(kept.1["version"], ended.1["version"]);
        assert_ne!(kept.1[field], ended.1[field]);
        for (index, one) in seen.iter().enumerate() {
            for other in &seen[index + 1..] {
                assert_eq!(one.0 == other.0, one.1 == other.1, "{} {}", one.0, other.0);
            }
        }
        for (tag, expected) in [(&seen[0].0, 412), (&kept.0, 200)] {
            let body = json!({ "metadata": { "a": "b" } });
            let changed = service.patch(path, body).if_match(tag).await;
            assert_eq!(changed.status.as_u16(), expected, "{tag}: {:#}", changed.body);
        }
    }
    let hold = service.hold("alice", "bob", "1", HOUR.cast_unsigned()).await;
    hold.assert(201);
    let (tag, _) = read(account).await;
    assert!(tag.ends_with("-1.00\""), "{tag}");
}

/// A contract over all paths: where one has a word in the place of another's parameter, nothing of that
/// name can be made, because it could not be read.
#[tokio::test]
async fn nothing_is_made_that_a_path_would_hide() {
    let service = Service::new();
    let document = app::document("");
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let mut hidden = 0;
    for path in &paths {
        let Some((before, parameter)) = path.rsplit_once('/') else { continue };
        let Some(parameter) = parameter.strip_prefix('{').and_then(|name| name.strip_suffix('}'))
        else {
            continue;
        };
        for other in &paths {
            let word = other.strip_prefix(before).and_then(|rest| rest.strip_prefix('/'));
            let word = word.and_then(|rest| rest.split('/').next()).unwrap_or_default();
            if word.is_empty() || word.starts_with('{') {
                continue;
            }
            hidden += 1;
            let makers: Vec<(&str, Value)> = match parameter {
                "account_id" => vec![("/accounts", json!({ "account_id": word }))],
                "lock" => vec![("/locks", json!({ "lock": word, "owner": "o" }))],
                "counter" => vec![
                    ("/counters/increment", json!({ "counter": word })),
                    ("/counters/decrement", json!({ "counter": word })),
                    ("/counters/set", json!({ "counter": word, "value": 1 })),
                    ("/counters/reset", json!({ "counter": word })),
                    (
                        "/counters/batch",
                        json!({ "operations": [{ "counter": word, "action": "set", "value": 1 }] }),
                    ),
                ],
                "key" => vec![
                    ("/cache/get", json!({ "key": word })),
                    ("/cache/set", json!({ "key": word, "value": "v", "ttl_ms": 1000 })),
                ],
                // The service makes the ids of keys.
                "key_id" => continue,
                // A script is made by PUT at its own path, which the word already is.
                "name" => {
                    let made = service.put(&format!("/scripts/{word}"), json!({})).await;
                    made.expect_problem(405, "method_not_allowed");
                    continue;
                }
                other => panic!("{path}: say here how a {other} is made"),
            };
            for (maker, body) in makers {
                let refused = service.post(maker, body).await;
                let refused = refused.expect_problem(422, "invalid_id");
                assert!(refused["errors"][0]["pointer"].as_str().unwrap().ends_with(parameter));
            }
        }
    }
    assert!(hidden >= 20, "only {hidden} names");
    assert!(service.snapshot().is_empty());
}

/// Every object whose names are data refuses a name that is given twice, and so does every object with
/// fields.
#[tokio::test]
async fn no_name_is_given_twice() {
    let service = Service::new();
    for (path, body) in [
        ("/batch/set", r#"{"values":{"a":"1","a":"2"}}"#),
        ("/batch", r#"{"operations":[{"type":"hset","key":"h","fields":{"a":"1","a":"2"}}]}"#),
        (
            "/transactions",
            r#"{"operations":[{"type":"hset","key":"h","fields":{"a":"1","a":"1"}}]}"#,
        ),
        ("/accounts", r#"{"account_id":"a","metadata":{"a":"1","a":"2"}}"#),
        ("/accounts", r#"{"account_id":"a","account_id":"b"}"#),
        ("/counters/set", r#"{"counter":"a","value":1,"value":2}"#),
        (
            "/atomic",
            r#"{"operations":[{"operation":"counters/set","input":{"counter":"a","value":1,"value":2}},
                {"operation":"counters/set","input":{"counter":"b","value":1}}]}"#,
        ),
    ] {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .header("lockstep-space", &service.space);
        let refused = service.send(request.body(Body::from(body)).unwrap()).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert!(refused["errors"][0]["pointer"].is_string(), "{body}");
    }
    assert!(service.snapshot().is_empty());
}
