//! The headers that tell callers and gateways of a limit, in the form that the service is set to. They are rendered
//! here and nowhere else: a layer around all endpoints adds them to whatever answers a check, `/atomic` included.

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue},
    response::Response,
};
use clap::ValueEnum;
use serde_json::Value;

use super::codes;
use crate::api::{Answer, Problem};

/// The form of the headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum HeaderForm {
    /// `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10.
    #[default]
    Draft,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`, the last one in seconds from now.
    Legacy,
    /// No such headers.
    Off,
}

/// What headers say of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitState {
    /// Name of the policy, `default` for a rule of the call's own.
    pub name: String,
    /// The most units at once.
    pub limit: u64,
    /// How long a limit that was used up takes to be whole again, in milliseconds.
    pub window_ms: u64,
    /// What is left of it; `None` where nothing was counted.
    pub left: Option<Left>,
}

/// What is left of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// The units.
    pub remaining: u64,
    /// True where they were too few.
    pub denied: bool,
    /// Milliseconds until the denied check would be allowed, or else until the limit is whole again.
    pub effective_ms: u64,
}

/// The limits of an answer, for the layer.
#[derive(Debug, Clone)]
struct LimitStates(Vec<LimitState>);

/// Says in an answer which limits it is about.
pub fn with_limits<T>(answer: Answer<T>, states: Vec<LimitState>) -> Answer<T> {
    answer.with_extension(LimitStates(states))
}

/// The limits that an answer is about.
pub fn limits_of<T>(answer: &Answer<T>) -> &[LimitState] {
    answer.extension().map_or(&[], |LimitStates(states)| states)
}

/// Adds the headers to an answer that is about limits, and to the problem of a denial.
pub async fn add_headers(State(form): State<HeaderForm>, mut response: Response) -> Response {
    if form == HeaderForm::Off {
        return response;
    }
    if let Some(LimitStates(states)) = response.extensions_mut().remove() {
        let headers = form.render(&states);
        response.headers_mut().extend(headers);
    } else if let Some(problem) = response.extensions_mut().get_mut::<Problem>()
        && problem.code() == codes::RATE_LIMITED.code
    {
        let headers = form.render(&LimitState::of_problem(problem));
        problem.add_headers(headers);
    }
    response
}

impl LimitState {
    /// The violated limits of a denial: the `violations` of several checks, or the one of a single check.
    fn of_problem(problem: &Problem) -> Vec<LimitState> {
        match problem.member("violations").and_then(Value::as_array) {
            Some(violations) => {
                violations.iter().map(|one| LimitState::denied(|name| one.get(name))).collect()
            }
            None => vec![LimitState::denied(|name| problem.member(name))],
        }
    }

    /// A limit that has denied a check, by the members of the refusal.
    pub fn denied<'a>(member: impl Fn(&str) -> Option<&'a Value>) -> LimitState {
        let number = |name: &str| member(name).and_then(Value::as_u64).unwrap_or_default();
        let left = Left {
            remaining: number("remaining"),
            denied: true,
            effective_ms: number("retry_after_ms"),
        };
        LimitState {
            name: member("policy").and_then(Value::as_str).unwrap_or("default").to_owned(),
            limit: number("limit"),
            window_ms: number("window_ms"),
            left: Some(left),
        }
    }
}

impl HeaderForm {
    /// The headers of an answer that is about these limits.
    pub fn render(self, states: &[LimitState]) -> Vec<(HeaderName, HeaderValue)> {
        let named = match self {
            HeaderForm::Draft => draft(states),
            HeaderForm::Legacy => legacy(states),
            HeaderForm::Off => Vec::new(),
        };
        let values = named.into_iter().filter_map(|(name, text)| {
            let value = HeaderValue::try_from(text).ok()?;
            Some((HeaderName::from_static(name), value))
        });
        values.collect()
    }
}

/// Lists with an item for each limit. Times are in seconds, rounded up.
fn draft(states: &[LimitState]) -> Vec<(&'static str, String)> {
    let policies = states.iter().map(|LimitState { name, limit, window_ms, .. }| {
        format!("\"{name}\";q={limit};w={}", window_ms.div_ceil(1000))
    });
    let counted = states.iter().filter_map(|LimitState { name, left, .. }| {
        let Left { remaining, effective_ms, .. } = (*left)?;
        Some(format!("\"{name}\";r={remaining};t={}", effective_ms.div_ceil(1000)))
    });
    let list = |items: Vec<String>| (!items.is_empty()).then(|| items.join(", "));
    let policies = list(policies.collect()).map(|text| ("ratelimit-policy", text));
    let counted = list(counted.collect()).map(|text| ("ratelimit", text));
    policies.into_iter().chain(counted).collect()
}

/// These headers have room for one limit: the one with the longest wait, or else the one with the fewest units left.
fn legacy(states: &[LimitState]) -> Vec<(&'static str, String)> {
    let tightness = |state: &&LimitState| match state.left {
        Some(Left { denied: true, effective_ms, .. }) => (2, effective_ms),
        Some(Left { remaining, .. }) => (1, u64::MAX - remaining),
        None => (0, 0),
    };
    let Some(tightest) = states.iter().max_by_key(tightness) else { return Vec::new() };
    let mut headers = vec![("x-ratelimit-limit", tightest.limit.to_string())];
    if let Some(Left { remaining, effective_ms, .. }) = tightest.left {
        headers.push(("x-ratelimit-remaining", remaining.to_string()));
        headers.push(("x-ratelimit-reset", effective_ms.div_ceil(1000).to_string()));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str, left: Option<(u64, bool, u64)>) -> LimitState {
        let left =
            left.map(|(remaining, denied, effective_ms)| Left { remaining, denied, effective_ms });
        LimitState { name: name.to_owned(), limit: 10, window_ms: 60_001, left }
    }

    fn rendered(form: HeaderForm, states: &[LimitState]) -> Vec<String> {
        let headers = form.render(states);
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
    }

    #[test]
    fn the_draft_lists_every_limit() {
        let states = [state("api", Some((3, false, 1))), state("default", Some((0, true, 2000)))];
        assert_eq!(
            rendered(HeaderForm::Draft, &states),
            [
                "ratelimit-policy: \"api\";q=10;w=61, \"default\";q=10;w=61",
                "ratelimit: \"api\";r=3;t=1, \"default\";r=0;t=2"
            ]
        );
        // What was not counted has no state.
        assert_eq!(
            rendered(HeaderForm::Draft, &[state("api", None)]),
            ["ratelimit-policy: \"api\";q=10;w=61"]
        );
        assert!(rendered(HeaderForm::Draft, &[]).is_empty());
        assert!(rendered(HeaderForm::Off, &states).is_empty());
    }

    #[test]
    fn the_older_headers_tell_of_the_tightest_limit() {
        let headers = |remaining: u64, reset: u64| {
            vec![
                "x-ratelimit-limit: 10".to_owned(),
                format!("x-ratelimit-remaining: {remaining}"),
                format!("x-ratelimit-reset: {reset}"),
            ]
        };
        let allowed = [state("a", Some((5, false, 9000))), state("b", Some((2, false, 1000)))];
        assert_eq!(rendered(HeaderForm::Legacy, &allowed), headers(2, 1));
        // The wait is that of Retry-After.
        let denied = [
            state("a", Some((0, true, 1001))),
            state("b", Some((4, true, 7000))),
            state("c", Some((0, false, 9000))),
        ];
        assert_eq!(rendered(HeaderForm::Legacy, &denied), headers(4, 7));
        assert_eq!(rendered(HeaderForm::Legacy, &[state("a", None)]), ["x-ratelimit-limit: 10"]);
        assert!(rendered(HeaderForm::Legacy, &[]).is_empty());
    }
}
