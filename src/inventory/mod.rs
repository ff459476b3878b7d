//! Products and reservations of their units. A reservation holds units until they are sold or released,
//! or until it expires; no unit is ever sold twice. `app` merges the router; `domains` finds the
//! commands by name, for `POST /atomic` and `POST /bulk`.
//!
//! Each file is one operation and its endpoint. A request body is named by what it asks for
//! (`ConfirmReservation`), and is itself the operation where nothing has to be added to it. Where
//! something has to be found or computed before it can run, the operation is a type of its own, named
//! by a noun (`Confirmation`). A type called `...Reply` has the fields of a script's reply where these
//! are not the body of the answer.

mod add_product;
mod adjust;
mod cancel;
pub mod codes;
mod confirm;
mod customer_reservations;
mod expire;
mod extend;
mod get_product;
mod get_reservation;
mod integrity;
mod list_products;
mod movement_record;
mod movements;
mod record;
mod reserve;
mod update_product;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::{CommandEntry, ScanStep},
    store::{Invocation, Store},
    types::Id,
};

pub use codes::CODES;
pub use expire::ExpireReservations;
pub use record::KEY_KINDS;

use get_product::{Product, ProductReply};
use get_reservation::{HeldReservation, Reservation, ReservationReply};

/// The endpoints of this domain.
pub fn router() -> OpenApiRouter<Store> {
    OpenApiRouter::new()
        .routes(routes!(add_product::add_product, list_products::list_products))
        .routes(routes!(get_product::get_product, update_product::update_product))
        .routes(routes!(movements::movements))
        .routes(routes!(adjust::adjust))
        .routes(routes!(reserve::reserve))
        .routes(routes!(confirm::confirm))
        .routes(routes!(cancel::cancel))
        .routes(routes!(extend::extend))
        .routes(routes!(get_reservation::get_reservation))
        .routes(routes!(customer_reservations::customer_reservations))
        .routes(routes!(integrity::integrity))
}

/// The commands of this domain, which `POST /atomic` and `POST /bulk` take by name.
pub const COMMANDS: &[CommandEntry] = &[
    CommandEntry::of::<add_product::AddProduct>(),
    CommandEntry::of::<adjust::Adjust>(),
    CommandEntry::of::<reserve::Reserve>(),
    CommandEntry::of::<confirm::ConfirmReservation>(),
    CommandEntry::of::<cancel::CancelReservation>(),
    CommandEntry::of::<extend::ExtendReservation>(),
];

/// The kind of the keys under which the holds of products are kept.
const HOLDS: &str = "product_holds";

/// Binds the keys of a product, of its holds and of its movements.
fn bind_product<'a>(invocation: &'a mut Invocation, id: &Id) -> &'a mut Invocation {
    invocation.key("product_key", "product", id).key("holds_key", HOLDS, id).key(
        "log_key",
        "movements",
        id,
    )
}

/// Binds one step of a scan over the products of a space: their index, the products to read, and the
/// ids to list.
fn bind_products(invocation: &mut Invocation, step: &ScanStep) {
    invocation.key("index_key", "index", "products");
    for id in &step.ids {
        bind_product(invocation, id);
    }
    invocation.arg("after", step.after()).arg("count", step.count);
    for id in &step.ids {
        invocation.arg("product_id", id);
    }
}
