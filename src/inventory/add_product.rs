use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Product, ProductReply, bind_product};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{AmountOrZero, Code, Currency, Id, Metadata, Quantity, Stock, Text},
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
    /// The stock is low while fewer units than this are available.
    pub low_stock: Option<Quantity>,
    /// The most units that one customer may have reserved and bought.
    pub max_per_customer: Option<Quantity>,
    #[serde(default)]
    pub metadata: Metadata,
}

/// The same, with its price in minor units.
pub struct Addition {
    request: AddProduct,
    price: i128,
}

impl Operation for Addition {
    const NAME: &'static str = "inventory/add_product";
    const CODES: &'static [Code] = CODES;
    type Reply = ProductReply;

    fn bind(&self, invocation: &mut Invocation) {
        let limit = |limit: Option<Quantity>| limit.map_or("0".to_owned(), |it| it.to_string());
        let AddProduct { product_id, name, description, currency, initial_stock, metadata, .. } =
            &self.request;
        bind_product(invocation, product_id)
            .key("index_key", "index", "products")
            .arg("product_id", product_id)
            .arg("name", Text::json(Some(name)))
            .arg("description", Text::json(description.as_ref()))
            .arg("price", self.price)
            .arg("currency", currency)
            .arg("scale", currency.scale())
            .arg("initial_stock", initial_stock)
            .arg("low_stock", limit(self.request.low_stock))
            .arg("max_per_customer", limit(self.request.max_per_customer))
            .arg("metadata", metadata);
    }
}

impl Command for AddProduct {
    type Operation = Addition;
    type Output = Product;

    async fn prepare(self, _: &Store, _: &Context) -> Result<Addition, Problem> {
        let price = self.price.minor_units(self.currency.scale());
        let price = price.map_err(|invalid| Problem::invalid(&invalid, "/price"))?;
        Ok(Addition { request: self, price })
    }

    fn answer(
        _: &Addition,
        result: Result<Completed<ProductReply>, store::Error>,
    ) -> api::Result<Product> {
        Ok(ProductReply::answer(result?, Answer::created))
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
    Json(request): Json<AddProduct>,
) -> api::Result<Product> {
    request.run(&store, &context).await
}
