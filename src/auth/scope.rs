//! Scopes: what a key may do. A scope is a domain and a kind of access, such as `accounts:write`, the name of one
//! operation, or `*` for everything.

/// The scopes, each a bit of a [`ScopeSet`]. `write` does not include `read`.
const SCOPES: [&str; 18] = [
    "accounts:read",
    "accounts:write",
    "inventory:read",
    "inventory:write",
    "locks:read",
    "locks:write",
    "ratelimit:read",
    "ratelimit:write",
    "counters:read",
    "counters:write",
    "cache:read",
    "cache:write",
    "data:read",
    "data:write",
    "scripts:read",
    "scripts:write",
    "monitoring:read",
    "keys:manage",
];

/// The scope that allows everything.
const ALL: &str = "*";

/// One scope of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope(usize);

impl Scope {
    /// The scopes that there are, beside `*` and the names of operations.
    pub fn names() -> &'static [&'static str] {
        &SCOPES
    }

    /// The scope of that name.
    pub fn named(name: &str) -> Option<Scope> {
        SCOPES.iter().position(|known| *known == name).map(Scope)
    }

    /// The scope that an operation belongs to, by the domain in its name; `None` where no scope has that domain.
    pub fn of_operation(name: &str, writes: bool) -> Option<Scope> {
        let domain = match name.split('/').next().unwrap_or_default() {
            // They work on the data keys.
            "batch" | "transactions" => "data",
            domain => domain,
        };
        let kind = match domain {
            "keys" => "manage",
            _ if writes => "write",
            _ => "read",
        };
        SCOPES.iter().position(|known| known.split_once(':') == Some((domain, kind))).map(Scope)
    }

    /// The name of the scope, such as `accounts:write`.
    pub fn name(self) -> &'static str {
        SCOPES[self.0]
    }

    fn bit(self) -> u32 {
        1 << self.0
    }
}

/// The scopes of a key.
#[derive(Debug, Clone, Default)]
pub struct ScopeSet {
    all: bool,
    /// A bit for each scope of the table.
    bits: u32,
    operations: Vec<String>,
}

impl ScopeSet {
    /// The set of these scopes. A name that is neither `*` nor a scope of the table is that of an operation.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> ScopeSet {
        let mut set = ScopeSet::default();
        for name in names {
            match Scope::named(name) {
                Some(scope) => set.bits |= scope.bit(),
                None if name == ALL => set.all = true,
                None => set.operations.push(name.to_owned()),
            }
        }
        set
    }

    /// True if a text can stand in a set: `*`, a scope of the table, or one of these operations.
    pub fn may_have(name: &str, is_operation: impl FnOnce(&str) -> bool) -> bool {
        name == ALL || Scope::named(name).is_some() || is_operation(name)
    }

    /// True if the set allows everything.
    pub fn has_all(&self) -> bool {
        self.all
    }

    /// True if the set allows an operation that belongs to this scope.
    pub fn allows(&self, scope: Scope, operation: &str) -> bool {
        self.all
            || self.bits & scope.bit() != 0
            || self.operations.iter().any(|own| own == operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_allows_what_it_names() {
        let transfer = Scope::of_operation("accounts/transfer", true).unwrap();
        assert_eq!(transfer.name(), "accounts:write");
        for (names, allowed) in [
            (&["*"][..], true),
            (&["accounts:write"], true),
            (&["accounts/transfer"], true),
            (&["accounts:read", "inventory:write"], false),
            (&["accounts/deposit"], false),
            (&[], false),
        ] {
            let set = ScopeSet::new(names.iter().copied());
            assert_eq!(set.allows(transfer, "accounts/transfer"), allowed, "{names:?}");
        }
    }

    #[test]
    fn each_domain_has_its_scope() {
        for (operation, writes, scope) in [
            ("batch/run", true, "data:write"),
            ("batch/get", false, "data:read"),
            ("transactions/run", true, "data:write"),
            ("monitoring/health", false, "monitoring:read"),
            ("keys/list", false, "keys:manage"),
            ("keys/create", true, "keys:manage"),
        ] {
            assert_eq!(Scope::of_operation(operation, writes).map(Scope::name), Some(scope));
        }
        for unknown in [("monitoring/x", true), ("unknown/x", false), ("", true)] {
            assert_eq!(Scope::of_operation(unknown.0, unknown.1), None);
        }
    }
}
