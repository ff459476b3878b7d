//! The configuration of Envoy in `examples/gateways`, read as Envoy reads it as far as limits are concerned: each of
//! its actions makes an entry of a descriptor.

use lockstep::rls::messages::{LimitCode, RateLimitDescriptor};
use yaml_rust2::{Yaml, YamlLoader};

use super::{Rls, descriptor};
use crate::support::Service;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/gateways");

/// Every value of a field, wherever it stands.
fn values<'a>(node: &'a Yaml, field: &str, found: &mut Vec<&'a Yaml>) {
    match node {
        Yaml::Hash(fields) => {
            for (name, value) in fields {
                if name.as_str() == Some(field) {
                    found.push(value);
                }
                values(value, field, found);
            }
        }
        Yaml::Array(items) => items.iter().for_each(|item| values(item, field, found)),
        _ => {}
    }
}

/// The descriptor that Envoy makes of actions for a request of alice, of the tenant acme.
fn descriptor_of(actions: &Yaml) -> RateLimitDescriptor {
    let entries: Vec<(&str, &str)> = actions.as_vec().unwrap().iter().map(entry).collect();
    descriptor(&entries)
}

fn entry(action: &Yaml) -> (&str, &str) {
    let (kind, settings) = action.as_hash().unwrap().front().unwrap();
    let setting = |name: &str| settings[name].as_str();
    match kind.as_str().unwrap() {
        "remote_address" => ("remote_address", "203.0.113.7"),
        "generic_key" => (
            setting("descriptor_key").unwrap_or("generic_key"),
            setting("descriptor_value").unwrap(),
        ),
        "header_value_match" => ("header_match", setting("descriptor_value").unwrap()),
        "request_headers" => {
            let value = match setting("header_name").unwrap() {
                "x-user" => "alice",
                "x-tenant" => "acme",
                other => panic!("{other} is no header of the request"),
            };
            (setting("descriptor_key").unwrap(), value)
        }
        other => panic!("the test does not know the action {other}"),
    }
}

#[tokio::test]
async fn its_limits_are_the_policies_that_the_page_beside_it_puts() {
    let text = std::fs::read_to_string(format!("{EXAMPLES}/envoy.yaml")).unwrap();
    let documents = YamlLoader::load_from_str(&text).unwrap();
    let mut domains = Vec::new();
    values(&documents[0], "domain", &mut domains);
    assert_eq!(domains, [&Yaml::String("edge".to_owned())]);
    let mut actions = Vec::new();
    values(&documents[0], "actions", &mut actions);
    let descriptors: Vec<_> = actions.into_iter().map(descriptor_of).collect();
    assert_eq!(descriptors.len(), 5);

    let service = Service::new();
    let page = std::fs::read_to_string(format!("{EXAMPLES}/README.md")).unwrap();
    for line in page.lines().filter_map(|line| line.trim().strip_prefix("put ")) {
        let (policy, rule) = line.split_once(' ').unwrap();
        let mut rule: serde_json::Value = serde_json::from_str(rule.trim_matches('\'')).unwrap();
        // What is taken stays long enough to be seen, however slow the machine.
        for period in ["refill_interval_ms", "window_ms"] {
            if let Some(ms) = rule[period].as_u64() {
                rule[period] = (ms * 1000).into();
            }
        }
        service.put(&format!("/ratelimit/policies/{policy}"), rule).await.assert(201);
    }
    let rls = Rls::of(&service).await;
    let answer = rls.ask(descriptors).await.unwrap();
    assert_eq!(answer.overall_code(), LimitCode::Ok);
    let names = answer.statuses.iter().map(|status| status.current_limit.clone().unwrap().name);
    let expected = ["remote_address", "login", "remote_address", "writes", "everybody"];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    // The keys are those that the comments of the configuration tell.
    for (policy, key) in [
        ("remote_address", "203.0.113.7"),
        ("login", "203.0.113.7;alice"),
        ("writes", "acme"),
        ("everybody", "*"),
    ] {
        let comment = format!("Policy {policy}, key {key}.");
        assert!(text.contains(&comment), "{comment}");
        let id = format!("{policy}/{key}");
        let states = [service.key("limit", &id), service.key("limit_log", &id)];
        assert!(service.snapshot().iter().any(|(name, _)| states.contains(name)), "{id}");
    }
}
