//! Which calls a caller may make: the key of each request, and what the route of the request requires of it. `app`
//! builds it where the service has keys; `middleware::handle` asks it before anything of a request is read, `bulk` once
//! more for each line, and `rls` for each call of a gateway.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use axum::http::{HeaderMap, HeaderValue, Method, header};

use crate::{
    api::Problem,
    auth::{
        AddressRange, FailureLimiter, KeyRefusal, KeyRing, PresentedKey, Principal, Requirement,
        ScopeSet, client_address,
    },
    types::{Id, codes},
};

/// Request extension: the address at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub IpAddr);

/// Settings of the check of callers' keys.
#[derive(Clone)]
pub struct AccessSettings {
    /// The keys.
    pub ring: Arc<KeyRing>,
    /// The number of failing calls of an address in a minute; further ones are told to wait.
    pub failures_per_minute: u32,
    /// The gateways whose headers tell the address of a caller.
    pub trusted_proxies: Vec<AddressRange>,
}

/// The check of callers' keys.
pub struct AccessControl {
    ring: Arc<KeyRing>,
    /// By path with placeholders: the requirement of each method; that without a method is for all.
    routes: HashMap<String, Vec<(Option<Method>, Requirement)>>,
    /// By name.
    operations: HashMap<String, Requirement>,
    failures: FailureLimiter,
    trusted_proxies: Vec<AddressRange>,
}

impl AccessControl {
    /// The check of a service that has no routes yet.
    pub fn new(settings: AccessSettings) -> AccessControl {
        let AccessSettings { ring, failures_per_minute, trusted_proxies } = settings;
        AccessControl {
            ring,
            routes: HashMap::new(),
            operations: HashMap::new(),
            failures: FailureLimiter::new(failures_per_minute),
            trusted_proxies,
        }
    }

    /// Adds a route, and the operation that it has, if any. `None` as the method stands for all.
    pub fn add(
        &mut self,
        method: Option<Method>,
        path: String,
        operation: Option<&str>,
        requirement: Requirement,
    ) {
        if let Some(operation) = operation {
            self.operations.insert(operation.to_owned(), requirement.clone());
        }
        self.routes.entry(path).or_default().push((method, requirement));
    }

    /// The keys.
    pub fn ring(&self) -> &Arc<KeyRing> {
        &self.ring
    }

    /// True if a key can have a scope of that name: `*`, a domain's, or an operation.
    pub fn is_scope(&self, name: &str) -> bool {
        let is_operation =
            |name: &str| matches!(self.operations.get(name), Some(Requirement::Scope { .. }));
        ScopeSet::may_have(name, is_operation)
    }

    /// The requirement of a request; `None` for what is open to everybody, and for a route or a method
    /// that there is none of.
    pub(super) fn requirement(&self, route: Option<&str>, method: &Method) -> Option<&Requirement> {
        let route = route.filter(|_| *method != Method::OPTIONS)?;
        // A route that nobody has declared is for those who may do everything.
        let Some(methods) = self.routes.get(route) else { return Some(&Requirement::Everything) };
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let is_own = |own: &Option<Method>| own.as_ref().is_none_or(|own| own == method);
        let (_, requirement) = methods.iter().find(|(own, _)| is_own(own))?;
        (*requirement != Requirement::Open).then_some(requirement)
    }

    /// Finds out who makes a call that comes another way than by a route, and that they may.
    ///
    /// # Errors
    ///
    /// Those of [`AccessControl::check_key`] and [`check_requirement`].
    pub fn admit_operation(
        &self,
        operation: &str,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<Arc<Principal>, Problem> {
        let principal = self.check_key(headers, peer)?;
        let requirement = self.operations.get(operation).unwrap_or(&Requirement::Everything);
        check_requirement(&principal, requirement)?;
        Ok(principal)
    }

    /// Finds out who has the key in these headers.
    ///
    /// # Errors
    ///
    /// `unauthenticated`, `too_many_failures`, or `store_unavailable` before the keys are known.
    pub fn check_key(
        &self,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Result<Arc<Principal>, Problem> {
        let refusal = match bearer(headers).and_then(PresentedKey::read) {
            None => KeyRefusal::Refused,
            Some(key) => match self.ring.check(key) {
                Ok(principal) => return Ok(principal),
                Err(refusal) => refusal,
            },
        };
        if refusal == KeyRefusal::NotLoaded {
            let problem = Problem::from(codes::STORE_UNAVAILABLE);
            return Err(problem.caused_by("the keys of callers are not known yet".to_owned()));
        }
        let address = peer.map(|peer| client_address(peer, headers, &self.trusted_proxies));
        match address.map(|address| self.failures.count(address)) {
            Some(Err(wait)) => {
                let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
                let problem =
                    Problem::refused(codes::TOO_MANY_FAILURES, [("retry_after_ms", ms.into())]);
                Err(problem.with_header(header::RETRY_AFTER, ms.div_ceil(1000)))
            }
            _ => {
                let scheme = HeaderValue::from_static("Bearer");
                let problem = Problem::from(codes::UNAUTHENTICATED);
                Err(problem.with_header(header::WWW_AUTHENTICATE, scheme))
            }
        }
    }
}

/// The token of the one header `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok().filter(|_| values.next().is_none())?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Checks that a caller's key meets a requirement.
///
/// # Errors
///
/// `insufficient_scope`, or `space_not_allowed` for what is about all spaces.
pub fn check_requirement(principal: &Principal, requirement: &Requirement) -> Result<(), Problem> {
    if let Err(required) = principal.check(requirement) {
        return Err(Problem::refused(codes::INSUFFICIENT_SCOPE, [("required", required.into())]));
    }
    match requirement {
        Requirement::Scope { all_spaces: true, .. } if !principal.spaces().has_all() => {
            Err(Problem::refused(codes::SPACE_NOT_ALLOWED, [("space", "*".into())]))
        }
        _ => Ok(()),
    }
}

/// Checks that a caller's key may be used in a space.
///
/// # Errors
///
/// `space_not_allowed`.
pub fn check_space(principal: &Principal, space: &Id) -> Result<(), Problem> {
    match principal.has_space(space) {
        true => Ok(()),
        false => {
            Err(Problem::refused(codes::SPACE_NOT_ALLOWED, [("space", space.as_str().into())]))
        }
    }
}
