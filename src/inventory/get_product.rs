use axum::extract::State;

use super::{CODES, Product, bind_product};
use crate::{
    api::{self, Answer, Caller, Path},
    store::{Call, Operation, Store},
    types::{Code, Id},
};

struct GetProduct(Id);

impl Operation for GetProduct {
    const NAME: &'static str = "inventory/get_product";
    const CODES: &'static [Code] = CODES;
    type Reply = Product;

    fn bind(&self, call: &mut Call) {
        bind_product(call, &self.0).arg("product_id", &self.0);
    }
}

/// Get a product and its stock
///
/// Units of reservations whose time is up count as available from that millisecond on. The ETag is
/// the version.
#[utoipa::path(
    get,
    path = "/inventory/products/{product_id}",
    operation_id = GetProduct::NAME,
    tag = "inventory",
    params(("product_id" = Id, Path)),
    responses((status = OK, body = Product, description = "The product.")),
)]
pub async fn get_product(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(product_id): Path,
) -> api::Result<Product> {
    let answer = Answer::ok(store.run(&GetProduct(product_id), &context).await?);
    let version = answer.body().version;
    Ok(answer.with_version(version))
}
