//! A script of the registry as scripts write it and as callers read it, and the service's own scripts in the
//! same form.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    api::{Answer, Listed},
    store::{
        Completed, Header, KeyContent, KeyKind, Library, PackedRecord, Params, Script, text_field,
    },
    types::{Id, Timestamp},
};

/// The kinds of keys that this domain writes.
pub const KEY_KINDS: &[KeyKind] = &[
    KeyKind { kind: "script", content: KeyContent::Record(script_to_json) },
    KeyKind { kind: "script_versions", content: KeyContent::Records(text_field, version_to_json) },
];

/// The bytes of a SHA-256 in hexadecimal digits.
const DIGEST: usize = 64;

/// A script of the registry, or one of the service's own.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "name": "add-capped",
    "version": 1,
    "latest_version": 1,
    "revision": 1,
    "sha1": "0c5b3b3a6f1f4d5e8a7b9c0d1e2f3a4b5c6d7e8f",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "description": "Adds to a number up to a limit",
    "keys": ["total"],
    "args": ["amount", "limit"],
    "read_only": false,
    "builtin": false,
    "created_at": "2026-01-31T12:00:00.000Z",
    "updated_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct RegisteredScript {
    /// Name of the script.
    pub name: String,
    /// Number of the version that is shown: the one that runs, unless the call asked for another.
    pub version: u64,
    /// Number of the newest version.
    pub latest_version: u64,
    /// Number of changes of the script, which is also the ETag. An activation changes it, and no version.
    pub revision: u64,
    /// SHA-1 by which the server knows the script with what the service puts around it.
    pub sha1: String,
    /// SHA-256 of the source as it was given.
    pub sha256: String,
    /// Description, as the caller gave it.
    pub description: Option<String>,
    /// Names of the keys that a run takes.
    pub keys: Vec<String>,
    /// Names of the arguments that a run takes.
    pub args: Vec<String>,
    /// True for a script that the server refuses every write.
    pub read_only: bool,
    /// True for a script of the service itself. It can be read, and is run by its endpoint.
    pub builtin: bool,
    /// Moment at which the version was registered, by the clock of Redis; null for a script of the service.
    pub created_at: Option<Timestamp>,
    /// Moment of the last change, by the clock of Redis; null for a script of the service.
    pub updated_at: Option<Timestamp>,
    /// Source as it was given. A list leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A script as scripts write it.
#[derive(Debug, Deserialize)]
pub struct StoredScript {
    name: String,
    revision: u64,
    latest: u64,
    updated_at: Timestamp,
    details: VersionDetails,
}

/// The reply of a script of the registry: one script, and its source where it is asked for.
#[derive(Debug, Deserialize)]
pub struct ScriptReply {
    pub script: StoredScript,
    #[serde(default)]
    pub source: Option<String>,
}

/// What the registry keeps of a version beside its source.
#[derive(Debug, Serialize, Deserialize)]
pub struct VersionDetails {
    #[serde(default, skip_serializing)]
    pub version: u64,
    #[serde(default, skip_serializing)]
    pub created_at: Option<Timestamp>,
    pub sha1: String,
    pub sha256: String,
    pub description: Option<String>,
    pub keys: Vec<String>,
    pub args: Vec<String>,
    pub read_only: bool,
}

impl VersionDetails {
    /// Details of a version that is to be registered. Its number and its moment are Redis' to say.
    pub fn new(sha1: &str, sha256: &str, read_only: bool) -> VersionDetails {
        VersionDetails {
            version: 0,
            created_at: None,
            sha1: sha1.to_owned(),
            sha256: sha256.to_owned(),
            description: None,
            keys: Vec::new(),
            args: Vec::new(),
            read_only,
        }
    }

    /// The members as JSON, without the braces around them.
    pub fn members(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        text.trim_start_matches('{').strip_suffix('}').unwrap_or_default().to_owned()
    }
}

impl StoredScript {
    /// What is known of the version.
    pub fn details(&self) -> &VersionDetails {
        &self.details
    }

    /// The script as callers read it.
    pub fn registered(self, source: Option<String>) -> RegisteredScript {
        let StoredScript { name, revision, latest, updated_at, details } = self;
        let VersionDetails {
            version,
            created_at,
            sha1,
            sha256,
            description,
            keys,
            args,
            read_only,
        } = details;
        RegisteredScript {
            name,
            version,
            latest_version: latest,
            revision,
            sha1,
            sha256,
            description,
            keys,
            args,
            read_only,
            builtin: false,
            created_at,
            updated_at: Some(updated_at),
            source,
        }
    }
}

impl ScriptReply {
    /// The script as callers read it, with its source.
    pub fn registered(self) -> RegisteredScript {
        self.script.registered(self.source)
    }
}

impl Listed for StoredScript {
    fn id(&self) -> &str {
        &self.name
    }
}

/// Makes the answer of a script, with its revision as the ETag. `answer` chooses the status.
pub fn answer_script(
    completed: Completed<RegisteredScript>,
    answer: fn(Completed<RegisteredScript>) -> Answer<RegisteredScript>,
) -> Answer<RegisteredScript> {
    let answer = answer(completed);
    let revision = answer.body().revision;
    answer.with_version(revision, 0)
}

/// The service's own script of this name, which is that of the operation with `_` for `/`.
pub fn builtin<'a>(library: &'a Library, name: &Id) -> Option<&'a Script> {
    library.iter().find(|script| script.name.replace('/', "_") == name.as_str())
}

/// A script of the service as callers read it.
pub fn builtin_script(script: &Script) -> RegisteredScript {
    let Header { summary, read_only, keys, args, .. } = &script.header;
    let names = |params: &Params| {
        let repeated = params.repeated.iter().map(|name| format!("{name}..."));
        params.fixed.iter().cloned().chain(repeated).collect()
    };
    RegisteredScript {
        name: script.name.replace('/', "_"),
        version: 1,
        latest_version: 1,
        revision: 1,
        sha1: script.sha1.clone(),
        sha256: super::source::sha256(&script.source),
        description: Some(summary.clone()),
        keys: names(keys),
        args: names(args),
        read_only: *read_only,
        builtin: true,
        created_at: None,
        updated_at: None,
        source: Some(script.source.clone()),
    }
}

/// Returns the record of a script as JSON.
fn script_to_json(bytes: &[u8]) -> Option<Value> {
    let mut record = PackedRecord::new(bytes);
    if record.byte()? != 1 {
        return None;
    }
    let (revision, active, latest) = (record.whole()?, record.whole()?, record.whole()?);
    let updated_at = record.whole()?;
    let digests = std::str::from_utf8(bytes.get(33..)?).ok()?;
    let digests: Vec<_> =
        digests.as_bytes().chunks(DIGEST).map(|digest| String::from_utf8_lossy(digest)).collect();
    Some(json!({
        "revision": revision, "active": active, "latest": latest, "updated_at": updated_at,
        "sha256": digests,
    }))
}

/// Returns a version of a script as JSON.
fn version_to_json(bytes: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (details, source) = text.split_once('\n')?;
    let mut version: Value = serde_json::from_str(details).ok()?;
    version.as_object_mut()?.insert("source".to_owned(), source.into());
    Some(version)
}
