use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Product, ProductReply, bind_product};
use crate::{
    api::{self, Answer, Caller, IfMatch, Json, Path},
    store::{Invocation, Operation, Store},
    types::{AmountOrZero, Code, Id, Metadata, Quantity, Text, non_null},
};

/// What to change of a product; what is not named stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "price": "8.40", "low_stock": 20 }))]
pub struct UpdateProduct {
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = String, required = false)]
    pub name: Option<Text<1, 200>>,
    /// Null for none.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<Text<0, 1000>>>,
    /// In the product's currency.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = AmountOrZero, required = false)]
    pub price: Option<AmountOrZero>,
    /// Null for never. A new threshold is no crossing.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<Quantity>)]
    pub low_stock: Option<Option<Quantity>>,
    /// Null for no limit. What is reserved already stays.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Option<Quantity>)]
    pub max_per_customer: Option<Option<Quantity>>,
    /// All of the caller's notes anew.
    #[serde(default, deserialize_with = "non_null")]
    #[schema(value_type = Metadata, required = false)]
    pub metadata: Option<Metadata>,
}

struct Updating {
    product_id: Id,
    request: UpdateProduct,
    expected_version: IfMatch,
}

/// A limit as the script takes it: nothing to keep it, 0 for none.
fn limit(named: Option<Option<Quantity>>) -> String {
    named.map_or(String::new(), |limit| limit.map_or("0".to_owned(), |units| units.to_string()))
}

impl Operation for Updating {
    const NAME: &'static str = "inventory/update_product";
    const CODES: &'static [Code] = CODES;
    type Reply = ProductReply;

    fn bind(&self, invocation: &mut Invocation) {
        let UpdateProduct { name, description, price, low_stock, max_per_customer, metadata } =
            &self.request;
        let description = description.as_ref();
        bind_product(invocation, &self.product_id)
            .arg("product_id", &self.product_id)
            .arg("expected_version", &self.expected_version)
            .arg("name", name.as_ref().map_or(String::new(), |name| Text::json(Some(name))))
            .arg("description", description.map_or(String::new(), |it| Text::json(it.as_ref())))
            .arg("price", AmountOrZero::digits_or_nothing(*price))
            .arg("decimals", price.map_or(0, AmountOrZero::decimals))
            .arg("low_stock", limit(*low_stock))
            .arg("max_per_customer", limit(*max_per_customer))
            .arg("metadata", metadata.as_ref().map_or(String::new(), Metadata::to_string));
    }
}

/// Change a product
///
/// What is told about it, its price and its limits; its stock changes by POST /inventory/adjust. With
/// the header `If-Match` only if its version is still the one of the ETag.
#[utoipa::path(
    patch,
    path = "/inventory/products/{product_id}",
    operation_id = Updating::NAME,
    tag = "inventory",
    params(("product_id" = Id, Path), IfMatch),
    request_body = UpdateProduct,
    responses((status = OK, body = Product, description = "The product.")),
)]
pub async fn update_product(
    State(store): State<Store>,
    Caller(context): Caller,
    Path(product_id): Path,
    expected_version: IfMatch,
    Json(request): Json<UpdateProduct>,
) -> api::Result<Product> {
    let updating = Updating { product_id, request, expected_version };
    Ok(ProductReply::answer(store.run(&updating, &context).await?, Answer::ok))
}
