//! `POST /inventory/products`: adds a product with its initial stock.

use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{CODES, Product, ProductReply, bind_product};
use crate::{
    api::{self, Answer, Caller, Command, Json, Problem},
    store::{self, Completed, Context, Invocation, Operation, Store},
    types::{AmountOrZero, Code, Currency, Id, Metadata, Quantity, Stock, Text},
};

/// A product to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "product_id": "espresso-cup", "name": "Espresso cup", "price": "7.90", "initial_stock": 100
}))]
pub struct AddProduct {
    /// Id of the new product, unique in its space.
    pub product_id: Id,
    /// Name of the product, 1 to 200 characters.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    pub name: Text<1, 200>,
    /// A description of the product, 0 to 1,000 characters.
    #[schema(value_type = Option<String>, max_length = 1000)]
    pub description: Option<Text<0, 1000>>,
    /// Price of one unit, zero or more, with no more decimals than the currency has.
    pub price: AmountOrZero,
    /// Currency of the price: a code of ISO 4217, or one that the service's configuration
    /// declares.
    #[serde(default)]
    #[schema(default = "USD")]
    pub currency: Currency,
    /// Units on hand to begin with: 0 to 10^12.
    pub initial_stock: Stock,
    /// The stock is low while fewer units than this are available, 1 to 10^12. Without it the stock
    /// is never low.
    pub low_stock: Option<Quantity>,
    /// The most units that one customer may have reserved and bought together, 1 to 10^12. Without
    /// it there is no limit.
    pub max_per_customer: Option<Quantity>,
    /// Strings that the caller attaches to the product, at most 50 entries and 8 KiB.
    #[serde(default)]
    pub metadata: Metadata,
}

/// A product to add whose price is known in minor units of its currency.
pub struct PricedProduct {
    request: AddProduct,
    price: i128,
}

impl Operation for PricedProduct {
    const NAME: &'static str = "inventory/add_product";
    const CODES: &'static [Code] = CODES;
    type Reply = ProductReply;

    fn bind(&self, invocation: &mut Invocation) {
        let limit =
            |units: Option<Quantity>| units.map_or("0".to_owned(), |units| units.to_string());
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
    type Operation = PricedProduct;
    type Output = Product;

    async fn prepare(self, _: &Store, _: &Context) -> Result<PricedProduct, Problem> {
        let price = self.price.minor_units(self.currency.scale());
        let price = price.map_err(|invalid| Problem::invalid(&invalid, "/price"))?;
        Ok(PricedProduct { request: self, price })
    }

    fn answer(
        _: &PricedProduct,
        result: Result<Completed<ProductReply>, store::Error>,
    ) -> api::Result<Product> {
        let answer = ProductReply::answer(result?, Answer::created);
        Ok(answer.with_location(|product| format!("/inventory/products/{}", product.product_id)))
    }
}

/// Add a product
///
/// The product has its initial stock on hand, and none of it reserved or sold. The ETag of the answer
/// is the product's version.
#[utoipa::path(
    post,
    path = "/inventory/products",
    operation_id = PricedProduct::NAME,
    tag = "inventory",
    request_body = AddProduct,
    responses((status = CREATED, body = Product, description = "The new product.")),
)]
pub async fn add_product(
    State(store): State<Store>,
    Caller(context): Caller,
    Json(request): Json<AddProduct>,
) -> api::Result<Product> {
    request.run(&store, &context).await
}
