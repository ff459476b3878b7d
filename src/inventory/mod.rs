//! Stock that is never sold twice: units are reserved, and come back by themselves when time is up.

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
mod movements;
mod reserve;
mod update_product;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    api::CommandEntry,
    store::{Invocation, Store},
    types::Id,
};

pub use codes::CODES;
pub use expire::Expire;

use get_product::{Product, ProductReply};
use get_reservation::{HeldReservation, Reservation, ReservationReply};

/// The calls of this domain.
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

/// Its commands.
pub const COMMANDS: &[CommandEntry] = &[
    CommandEntry::of::<add_product::AddProduct>(),
    CommandEntry::of::<adjust::Adjust>(),
    CommandEntry::of::<reserve::Reserve>(),
    CommandEntry::of::<confirm::Confirm>(),
    CommandEntry::of::<cancel::Cancel>(),
    CommandEntry::of::<extend::Extend>(),
];

/// The set of a product's holds, beside its record.
const HOLDS: &str = "product_holds";

/// The keys of a product, of the holds on it, and of its movements.
fn bind_product<'a>(invocation: &'a mut Invocation, id: &Id) -> &'a mut Invocation {
    invocation.key("product_key", "product", id).key("holds_key", HOLDS, id).key(
        "log_key",
        "movements",
        id,
    )
}
