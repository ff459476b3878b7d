use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Product, bind_product};
use crate::{
    api::{self, Answer, Caller, Json, Problem},
    store::{Call, Operation, Store},
    types::{AmountOrZero, Code, Currency, Id, Metadata, Stock, Text},
};

/// A new product.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "product_id": "espresso-cup", "name": "Espresso cup", "price": "7.90", "initial_stock": 100
}))]
pub struct AddProduct {
    pub product_id: Id,
    pub name: Text<1, 200>,
    pub description: Option<Text<0, 1000>>,
    pub price: AmountOrZero,
    #[serde(default)]
    #[schema(default = "USD")]
    pub currency: Currency,
    pub initial_stock: Stock,
    #[serde(default)]
    pub metadata: Metadata,
}

/// The same, with its price in minor units.
struct Addition {
    order: AddProduct,
    price: i128,
}

impl Operation for Addition {
    const NAME: &'static str = "inventory/add_product";
    const CODES: &'static [Code] = CODES;
    type Reply = Product;

    fn bind(&self, call: &mut Call) {
        let AddProduct { product_id, name, description, currency, initial_stock, metadata, .. } =
            &self.order;
        bind_product(call, product_id)
            .arg("product_id", product_id)
            .arg("name", Text::json(Some(name)))
            .arg("description", Text::json(description.as_ref()))
            .arg("price", self.price)
            .arg("currency", currency)
            .arg("scale", currency.scale())
            .arg("initial_stock", initial_stock)
            .arg("metadata", metadata);
    }
}

/// Add a product
#[utoipa::path(
    post,
    path = "/inventory/products",
    operation_id = Addition::NAME,
    tag = "inventory",
    request_body = AddProduct,
    responses((status = CREATED, body = Product, description = "The product is there.")),
)]
pub async fn add_product(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(order): Json<AddProduct>,
) -> api::Result<Product> {
    let price = order.price.minor_units(order.currency.scale());
    let price = price.map_err(|invalid| Problem::invalid(&invalid, "/price"))?;
    let answer = Answer::created(store.run(&Addition { order, price }, &context).await?);
    let version = answer.body().version;
    Ok(answer.with_version(version))
}
