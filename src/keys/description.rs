//! A key as callers read it, and the checks of what they choose for one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    api::{AccessControl, Listed, Problem},
    auth::{Principal, SpaceSet},
    types::{Invalid, Text, Timestamp},
};

/// The most scopes of a key, and the most spaces.
const MOST: usize = 64;

/// The name of a key.
pub type KeyName = Text<1, 64>;

/// The moment from which a key does not work any more, as callers choose it: RFC 3339.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct KeyEnd(Timestamp);

impl KeyEnd {
    /// Milliseconds since 1970; 0 for no end.
    pub fn ms_or_zero(end: Option<KeyEnd>) -> u64 {
        end.map_or(0, |KeyEnd(moment)| moment.as_ms().max(1))
    }
}

/// Fails with `validation_failed`.
impl TryFrom<String> for KeyEnd {
    type Error = Invalid;

    fn try_from(text: String) -> Result<KeyEnd, Invalid> {
        let moment = text.parse().map_err(|_| {
            let detail = "A moment is RFC 3339, such as 2027-01-31T12:00:00Z.";
            Invalid::new("validation_failed", detail)
        });
        moment.map(KeyEnd)
    }
}

/// A key without its secret.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "key_id": "4fTzPq81LmXw",
    "name": "checkout",
    "scopes": ["accounts:write", "inventory/reserve"],
    "spaces": ["main", "tenant-*"],
    "disabled": false,
    "created_at": "2026-01-31T12:00:00.000Z",
    "expires_at": "2027-01-31T12:00:00.000Z",
    "last_used_at": "2026-02-01T11:06:00.000Z",
    "revoked_at": null,
    "previous_until": null
}))]
pub struct KeyDescription {
    /// Id of the key, which is no secret.
    pub key_id: String,
    /// Name of the key, for people.
    pub name: String,
    /// Scopes of the key: `*`, a scope such as `accounts:write`, or the name of an operation.
    pub scopes: Vec<String>,
    /// Spaces that the key may be used in: names, beginnings such as `tenant-*`, or `*`.
    pub spaces: Vec<String>,
    /// True for a key that does not work at the moment.
    pub disabled: bool,
    /// Moment at which the key was made; null for the root key.
    pub created_at: Option<Timestamp>,
    /// Moment from which the key does not work any more; null for none.
    pub expires_at: Option<Timestamp>,
    /// Minute in which the key was last used; null if it was not. A use is stored about a second later.
    pub last_used_at: Option<Timestamp>,
    /// Moment at which the key was revoked; null if it was not.
    pub revoked_at: Option<Timestamp>,
    /// Moment until which the secret before the last rotation works; null if it does not.
    pub previous_until: Option<Timestamp>,
}

/// A key that was made or rotated, with its text if this is the first answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "key": "lsk_4fTzPq81LmXw_0rQvY7nJ2kWb9sXhT3mCdLpE5uZa6gFi0a1B2c",
    "key_id": "4fTzPq81LmXw",
    "name": "checkout",
    "scopes": ["accounts:write", "inventory/reserve"],
    "spaces": ["main", "tenant-*"],
    "disabled": false,
    "created_at": "2026-01-31T12:00:00.000Z",
    "expires_at": null,
    "last_used_at": null,
    "revoked_at": null,
    "previous_until": null
}))]
pub struct KeyWithSecret {
    /// Text of the key, to be sent as `Authorization: Bearer <key>`. It is told this once: nothing remembers it, so
    /// the repeat of a call under its `Idempotency-Key` has no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub key: Option<String>,
    #[serde(flatten)]
    pub description: KeyDescription,
}

/// The reply of a script that answers one key.
#[derive(Debug, Deserialize)]
pub struct KeyReply {
    pub key: KeyDescription,
}

impl KeyDescription {
    /// The root key, of which nothing is stored.
    pub fn of_root(principal: &Principal) -> KeyDescription {
        KeyDescription {
            key_id: principal.key_id.to_string(),
            name: principal.name.clone(),
            scopes: vec!["keys:manage".to_owned()],
            spaces: vec!["*".to_owned()],
            disabled: false,
            created_at: None,
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
            previous_until: None,
        }
    }
}

impl Listed for KeyDescription {
    fn id(&self) -> &str {
        &self.key_id
    }
}

/// Checks the scopes that a caller chooses for a key, and returns them as JSON.
///
/// # Errors
///
/// `validation_failed` with a pointer.
pub fn scopes_json(scopes: &[String], access: &AccessControl) -> Result<String, Problem> {
    check_count(scopes, "/scopes")?;
    if let Some(index) = scopes.iter().position(|scope| !access.is_scope(scope)) {
        let detail = "A scope is *, a domain with its kind such as accounts:write, or the name of an operation such \
                      as accounts/transfer.";
        return Err(Problem::validation(&format!("/scopes/{index}"), detail));
    }
    Ok(serde_json::Value::from(scopes).to_string())
}

/// Checks the spaces that a caller chooses for a key, and returns them as JSON.
///
/// # Errors
///
/// `validation_failed` or `invalid_id` with a pointer.
pub fn spaces_json(spaces: &[String]) -> Result<String, Problem> {
    check_count(spaces, "/spaces")?;
    SpaceSet::new(spaces.iter().map(String::as_str))
        .map_err(|(index, invalid)| Problem::invalid(&invalid, &format!("/spaces/{index}")))?;
    Ok(serde_json::Value::from(spaces).to_string())
}

fn check_count(list: &[String], pointer: &str) -> Result<(), Problem> {
    match (1..=MOST).contains(&list.len()) {
        true => Ok(()),
        false => Err(Problem::validation(pointer, "There are 1 to 64.")),
    }
}
