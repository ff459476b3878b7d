//! `inventory/expire`: writes down that reservations of a product have expired. It has no endpoint. A
//! script that finds too many of them at once asks the store to run it first, and the sweeper runs it
//! for products that nobody calls.

use serde::Deserialize;

use super::{CODES, HOLDS, bind_product};
use crate::{
    store::{Invocation, Operation},
    types::{Code, Id},
};

/// Makes the units of expired reservations of one product available again in its stored record. Calls
/// count them as available from the millisecond of their expiry on, with or without this.
pub struct ExpireReservations(pub Id);

impl ExpireReservations {
    /// The kind of the keys that the sweeper looks for. Such a key exists as long as the product
    /// has reservations that are open or not yet removed.
    pub const KIND: &'static str = HOLDS;
}

/// The reply of the script.
#[derive(Debug, Deserialize)]
pub struct ExpireReservationsReply {
    /// 1 if expired holds are left, so that another run is needed; otherwise 0.
    pub more: u64,
}

impl Operation for ExpireReservations {
    const NAME: &'static str = "inventory/expire";
    const CODES: &'static [Code] = CODES;
    type Reply = ExpireReservationsReply;

    fn bind(&self, invocation: &mut Invocation) {
        bind_product(invocation, &self.0);
    }
}
