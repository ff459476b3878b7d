//! The policy, the key and the cost that a descriptor stands for. `decision` asks for each descriptor of a request.
//!
//! The first entry names the policy. Where the gateway's configuration chooses the value of that entry
//! (`generic_key` and the like), the policy is the value, and the key is made of the entries after it; otherwise the
//! policy is the name of the entry, and the key is made of all values, its own among them:
//!
//! | Descriptor | Policy | Key |
//! | --- | --- | --- |
//! | `remote_address=10.0.0.7` | `remote_address` | `10.0.0.7` |
//! | `generic_key=api`, `remote_address=10.0.0.7` | `api` | `10.0.0.7` |
//! | `generic_key=api`, `user=alice`, `path=/login` | `api` | `alice;/login` |
//! | `generic_key=api` | `api` | `*` |

use sha1_smol::Sha1;

use super::messages::{DescriptorEntry, RateLimitDescriptor};
use crate::{
    api::Problem,
    ratelimit::PolicyCheck,
    types::{Id, Invalid, LimitKey},
};

/// Names of entries whose value names a policy: the default names of the actions of Envoy that have a fixed value,
/// and one for actions that can be given a name.
const NAMING_ENTRIES: [&str; 4] = ["policy", "generic_key", "header_match", "query_match"];

/// Stands between two values of a key.
const SEPARATOR: u8 = b';';

/// The key of a descriptor that has a policy and nothing else. No value can make it, because it is escaped there.
const WHOLE_POLICY: &str = "*";

/// Returns what a descriptor checks. `request_hits` is the cost of one that has none of its own.
///
/// # Errors
///
/// A problem whose pointers begin at the descriptor: no entry, a name that is no policy, or a wish that the service
/// does not have.
pub(super) fn check_of(
    descriptor: &RateLimitDescriptor,
    request_hits: u32,
) -> Result<PolicyCheck, Problem> {
    if descriptor.limit.is_some() {
        let detail =
            "A limit of the gateway's own is not taken: put the policy that the descriptor names.";
        return Err(Problem::validation("/limit", detail));
    }
    if descriptor.is_negative_hits {
        let detail = "Units are given back by POST /ratelimit/refund.";
        return Err(Problem::validation("/is_negative_hits", detail));
    }
    let Some((first, rest)) = descriptor.entries.split_first() else {
        return Err(Problem::validation("/entries", "A descriptor has at least one entry."));
    };
    let (name, place, values) = match NAMING_ENTRIES.contains(&first.key.as_str()) {
        true => (String::from_utf8_lossy(&first.value).into_owned(), "/entries/0/value", rest),
        false => (first.key.clone(), "/entries/0/key", descriptor.entries.as_slice()),
    };
    let invalid = |invalid: Invalid| Problem::invalid(&invalid, place);
    let policy = Id::try_from(name).map_err(invalid)?;
    let key = key_of(values).map_err(invalid)?;
    let hits = descriptor.hits_addend.unwrap_or(u64::from(request_hits));
    Ok(PolicyCheck { policy, key, cost: hits.max(1) })
}

/// Joins values to a key. Different lists of values never make the same key.
///
/// Callers choose values, and an error of this service lets their request pass in most configurations. So there is
/// no bad value: what is empty, too long or not printable is replaced by its digest.
fn key_of(entries: &[DescriptorEntry]) -> Result<LimitKey, Invalid> {
    if entries.is_empty() {
        return LimitKey::try_from(WHOLE_POLICY.to_owned());
    }
    let mut joined = Vec::with_capacity(64);
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            joined.push(SEPARATOR);
        }
        for byte in &entry.value {
            if [SEPARATOR, b'\\', b'*'].contains(byte) {
                joined.push(b'\\');
            }
            joined.push(*byte);
        }
    }
    let digest = Sha1::from(&joined).digest();
    let key = String::from_utf8(joined).ok().and_then(|text| LimitKey::try_from(text).ok());
    key.map_or_else(|| LimitKey::try_from(format!("{WHOLE_POLICY}sha1:{digest}")), Ok)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// The entries of a descriptor, its policy and its key.
    type Mapped<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);

    fn descriptor(entries: &[(&str, &[u8])]) -> RateLimitDescriptor {
        let entry = |(key, value): &(&str, &[u8])| DescriptorEntry {
            key: (*key).to_owned(),
            value: value.to_vec(),
        };
        RateLimitDescriptor {
            entries: entries.iter().map(entry).collect(),
            ..RateLimitDescriptor::default()
        }
    }

    fn mapped(entries: &[(&str, &str)]) -> (String, String) {
        let entries: Vec<_> = entries.iter().map(|(key, value)| (*key, value.as_bytes())).collect();
        let check = check_of(&descriptor(&entries), 0).unwrap();
        (check.policy.into(), check.key.into())
    }

    #[test]
    fn what_envoy_sends_names_a_policy_and_a_key() {
        let cases: [Mapped; 10] = [
            (&[("remote_address", "10.0.0.7")], "remote_address", "10.0.0.7"),
            (
                &[("masked_remote_address", "2001:db8::/64")],
                "masked_remote_address",
                "2001:db8::/64",
            ),
            (&[("generic_key", "api")], "api", "*"),
            (&[("generic_key", "api"), ("remote_address", "::1")], "api", "::1"),
            (&[("policy", "gold"), ("user", "auth0|u@x")], "gold", "auth0|u@x"),
            (&[("header_match", "posts"), ("user", "alice")], "posts", "alice"),
            (&[("query_match", "search"), ("user", "alice")], "search", "alice"),
            (&[("PATH", "GET /foo")], "PATH", "GET /foo"),
            (&[("source_cluster", "a"), ("destination_cluster", "b")], "source_cluster", "a;b"),
            (&[("generic_key", "api"), ("a", "x;y"), ("b", "*\\")], "api", "x\\;y;\\*\\\\"),
        ];
        for (entries, policy, key) in cases {
            assert_eq!(mapped(entries), (policy.to_owned(), key.to_owned()), "{entries:?}");
        }
    }

    #[test]
    fn a_value_that_is_no_key_is_replaced_by_its_digest() {
        let long = [b'x'; 257];
        for value in [&b""[..], b"a\tb", &[0xff, 0xfe], &long] {
            let check = check_of(&descriptor(&[("user", value)]), 1).unwrap();
            let expected = format!("*sha1:{}", Sha1::from(value).digest());
            assert_eq!(check.key.as_str(), expected);
        }
        // A caller cannot send the digest of somebody else.
        assert_eq!(mapped(&[("user", "*sha1:00")]).1, "\\*sha1:00");
    }

    #[test]
    fn the_cost_is_that_of_the_descriptor_or_of_the_request_and_at_least_one() {
        for (own, request, cost) in
            [(None, 0, 1), (None, 7, 7), (Some(3), 7, 3), (Some(0), 7, 1), (Some(0), 0, 1)]
        {
            let asked =
                RateLimitDescriptor { hits_addend: own, ..descriptor(&[("user", b"alice")]) };
            assert_eq!(check_of(&asked, request).unwrap().cost, cost, "{own:?} {request}");
        }
    }

    #[test]
    fn a_descriptor_without_a_policy_is_refused_with_its_place() {
        let user = descriptor(&[("user", b"alice")]);
        let own_limit = RateLimitDescriptor { limit: Some(Default::default()), ..user.clone() };
        let refund = RateLimitDescriptor { is_negative_hits: true, ..user };
        let cases = [
            (descriptor(&[]), "/entries"),
            (descriptor(&[("generic_key", b"a b")]), "/entries/0/value"),
            (descriptor(&[("generic_key", &[0xff])]), "/entries/0/value"),
            (descriptor(&[("a/b", b"x")]), "/entries/0/key"),
            (own_limit, "/limit"),
            (refund, "/is_negative_hits"),
        ];
        for (asked, pointer) in cases {
            let problem = check_of(&asked, 1).unwrap_err();
            assert_eq!(problem.member("errors").unwrap()[0]["pointer"], pointer);
        }
    }

    proptest! {
        #[test]
        fn different_values_make_different_keys(
            lists in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(prop::sample::select(b"a;\\*\n".to_vec()), 0..4), 0..4),
                2..200,
            )
        ) {
            let mut known = HashMap::new();
            for list in lists {
                let entries: Vec<(&str, &[u8])> = [("generic_key", &b"api"[..])]
                    .into_iter()
                    .chain(list.iter().map(|value| ("user", value.as_slice())))
                    .collect();
                let key = check_of(&descriptor(&entries), 1).unwrap().key;
                let other = known.entry(key).or_insert_with(|| list.clone());
                prop_assert_eq!(&*other, &list);
            }
        }
    }
}
