//! The operation `scripts/find`: what a run needs to know of a script. `run`, `profile` and `trace` call it.

use serde::Deserialize;

use super::{CODES, record::StoredScript};
use crate::{
    store::{Invocation, Operation},
    types::{Code, Id},
};

/// The script to find, and the version; `None` for the one that runs.
pub struct FindScript {
    /// Name of the script.
    pub name: Id,
    /// Number of the version.
    pub version: Option<u64>,
}

/// The reply of a find.
#[derive(Debug, Deserialize)]
pub struct FoundScript {
    /// The script, with the details of the version.
    pub script: StoredScript,
}

impl Operation for FindScript {
    const NAME: &'static str = "scripts/find";
    const CODES: &'static [Code] = CODES;
    type Reply = FoundScript;

    fn bind(&self, invocation: &mut Invocation) {
        invocation
            .key("script_key", "script", &self.name)
            .key("versions_key", "script_versions", &self.name)
            .arg("name", &self.name)
            .arg("version", self.version.unwrap_or_default());
    }
}
