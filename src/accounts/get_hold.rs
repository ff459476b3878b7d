use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CODES, HOLDS};
use crate::{
    api::{self, Answer, Caller, Path, Problem},
    store::{self, Context, Invocation, Operation, Store},
    types::{Code, Currency, Id, Metadata, Money, Timestamp},
};

struct GetHold(Id);

/// Money that is set aside in one account for another one. What was captured, released and let
/// expire adds up to the amount once it has ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "hold_id": "hold_0199f6c28f7a7c319d4e52a1b7f0c6aa",
    "status": "open",
    "from_account": "alice",
    "to_account": "hotel",
    "currency": "USD",
    "amount": "120.00",
    "captured": "0.00",
    "released": "0.00",
    "expired": "0.00",
    "remaining": "120.00",
    "expires_at": "2026-02-07T12:00:00.000Z",
    "created_at": "2026-01-31T12:00:00.000Z",
    "description": "two nights",
    "metadata": {}
}))]
pub struct Hold {
    /// Minted by the service.
    pub hold_id: String,
    /// Whether it still holds anything, and if not, how it ended.
    pub status: HoldStatus,
    /// Whose money it is.
    pub from_account: Id,
    /// Who may have it.
    pub to_account: Id,
    #[schema(value_type = Currency)]
    pub currency: String,
    /// What was set aside in the first place.
    pub amount: Money,
    /// What has moved since.
    pub captured: Money,
    /// What was given back before its time.
    pub released: Money,
    /// What its time gave back.
    pub expired: Money,
    /// What is still set aside.
    pub remaining: Money,
    /// When the rest is free again, on Redis' clock.
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
    pub description: Option<String>,
    pub metadata: Metadata,
    /// What its account can spend right after; only in the answer to a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<Money>,
}

/// How a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HoldStatus {
    /// The money is set aside.
    Open,
    /// The last of it was captured.
    Captured,
    /// What was left was given back.
    Released,
    /// Its time was up.
    Expired,
}

/// What a script tells of one hold.
#[derive(Debug, Deserialize)]
pub struct HoldReply {
    hold: Hold,
    available: Option<Money>,
}

impl HoldReply {
    pub fn into_hold(self) -> Hold {
        Hold { available: self.available, ..self.hold }
    }
}

impl Operation for GetHold {
    const NAME: &'static str = "accounts/get_hold";
    const CODES: &'static [Code] = CODES;
    type Reply = HoldReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.key("hold_key", "hold", &self.0).arg("hold_id", &self.0);
    }
}

/// A hold that a command names, and its two accounts, whose keys the command needs beside the hold's
/// own. They never change, so they may be asked for before.
pub struct OpenHold {
    pub hold_id: Id,
    parties: Option<(Id, Id)>,
}

impl OpenHold {
    /// Finds out whose hold it is. One that is not there is no error yet: the command may have been
    /// sent before, under an idempotency key that remembers more.
    pub async fn find(hold_id: Id, store: &Store, context: &Context) -> Result<OpenHold, Problem> {
        match store.run(&GetHold(hold_id.clone()), context).await {
            Ok(done) => {
                let Hold { from_account, to_account, .. } = done.reply.hold;
                Ok(OpenHold { hold_id, parties: Some((from_account, to_account)) })
            }
            Err(store::Error::Refused(_)) => Ok(OpenHold { hold_id, parties: None }),
            Err(error) => Err(error.into()),
        }
    }

    /// Its account and the account it was held for.
    pub fn parties(&self) -> Option<(&Id, &Id)> {
        self.parties.as_ref().map(|(from, to)| (from, to))
    }

    /// Binds the hold, its account and that account's holds.
    pub fn bind<'a>(&self, invocation: &'a mut Invocation) -> &'a mut Invocation {
        invocation.key("hold_key", "hold", &self.hold_id);
        if let Some((from, _)) = self.parties() {
            invocation.derived_key("account_key", "account", from).derived_key(
                "holds_key",
                HOLDS,
                from,
            );
        }
        invocation.arg("hold_id", &self.hold_id)
    }
}

/// Get a hold
///
/// Also how it ended, for 7 days after.
#[utoipa::path(
    get,
    path = "/accounts/holds/{hold_id}",
    operation_id = GetHold::NAME,
    tag = "accounts",
    params(("hold_id" = Id, Path, example = "hold_0199f6c28f7a7c319d4e52a1b7f0c6aa")),
    responses((status = OK, body = Hold, description = "The hold.")),
)]
pub async fn get_hold(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(hold_id): Path,
) -> api::Result<Hold> {
    let done = store.run(&GetHold(hold_id), &context).await?;
    Ok(Answer::ok(done.map(HoldReply::into_hold)))
}
