//! `PATCH /inventory/products/{product_id}`: changes the description, the price and the limits of a
//! product. Its stock changes by other calls.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Product, ProductReply, bind_product};
use crate::{
    api::{self, Answer, Caller, Conditional, IfMatch, Json, Path},
    store::{Invocation, Operation, Store},
    types::{AmountOrZero, Code, Id, Metadata, Quantity, Text, non_null},
};

/// Fields of a product to change. A field that is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "name": "Espresso cup, white",
    "description": "Porcelain, 60 ml",
    "price": "8.40",
    "low_stock": 20,
    "max_per_customer": 6,
    "metadata": { "supplier": "acme" }
}))]
pub struct UpdateProduct {
    /// New name, for people: 1 to 200 characters.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    pub name: Option<Text<1, 200>>,
    /// New description, for people: at most 1,000 characters; null for none.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<String>, max_length = 1000)]
    pub description: Option<Option<Text<0, 1000>>>,
    /// New price of one unit, in the currency of the product: zero or more, with at most as many
    /// decimals as the currency has.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = AmountOrZero, required = false)]
    pub price: Option<AmountOrZero>,
    /// New threshold, in units: the stock is low while fewer are available. Null if it is never low.
    /// A new threshold alone is not reported as a change of `low_stock`.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<Quantity>)]
    pub low_stock: Option<Option<Quantity>>,
    /// New limit, in units, on what one customer may have reserved and bought; null for no limit.
    /// Reservations that exceed it already stay.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<Quantity>)]
    pub max_per_customer: Option<Option<Quantity>>,
    /// New entries in place of all old ones: at most 50, and 8 KiB in all.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Metadata, required = false)]
    pub metadata: Option<Metadata>,
}

/// The fields to change, and the product that the path names.
struct ProductUpdate {
    product_id: Id,
    fields: UpdateProduct,
}

/// Writes a limit for the script: empty to keep the old one, `0` for none.
fn limit(new: Option<Option<Quantity>>) -> String {
    new.map_or(String::new(), |limit| limit.map_or("0".to_owned(), |units| units.to_string()))
}

impl Operation for Conditional<ProductUpdate> {
    const NAME: &'static str = "inventory/update_product";
    const CODES: &'static [Code] = CODES;
    type Reply = ProductReply;

    fn bind(&self, invocation: &mut Invocation) {
        let ProductUpdate { product_id, fields } = &self.request;
        let UpdateProduct { name, description, price, low_stock, max_per_customer, metadata } =
            fields;
        let description = description.as_ref();
        bind_product(invocation, product_id)
            .arg("product_id", product_id)
            .arg("expected_version", &self.if_match)
            .arg("name", name.as_ref().map_or(String::new(), |name| Text::json(Some(name))))
            .arg("description", description.map_or(String::new(), |text| Text::json(text.as_ref())))
            .arg("price", AmountOrZero::digits_or_nothing(*price))
            .arg("decimals", price.map_or(0, AmountOrZero::decimals))
            .arg("low_stock", limit(*low_stock))
            .arg("max_per_customer", limit(*max_per_customer))
            .arg("metadata", metadata.as_ref().map_or(String::new(), Metadata::to_string));
    }
}

/// Change a product
///
/// Changes the name, the description, the price, the limits and the metadata. The stock changes by
/// `POST /inventory/adjust`. With the header `If-Match`, the product is changed only if its version is
/// one of those named there.
#[utoipa::path(
    patch,
    path = "/inventory/products/{product_id}",
    operation_id = Conditional::<ProductUpdate>::NAME,
    tag = "inventory",
    params(("product_id" = Id, Path, description = "Id of the product."), IfMatch),
    request_body = UpdateProduct,
    responses((status = OK, body = Product, description = "The product after the change.")),
)]
pub async fn update_product(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(product_id): Path,
    if_match: IfMatch,
    Json(request): Json<UpdateProduct>,
) -> api::Result<Product> {
    let update = ProductUpdate { product_id, fields: request };
    let reply = store.run(&Conditional { request: update, if_match }, &context).await?;
    Ok(ProductReply::answer(reply, Answer::ok))
}
