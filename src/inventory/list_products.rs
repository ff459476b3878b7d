//! `GET /inventory/products`: lists the products of a space, all of them or those of low stock.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{CODES, Product, bind_products};
use crate::{
    api::{self, Answer, Caller, KeysetScan, ListReply, Listed, Page, Query, ScanStep},
    store::{Completed, Invocation, Operation, Store},
    types::Code,
};

/// The query parameters of the list of products.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProductsPage {
    /// The most products of the page, 1 to 500.
    #[serde(default = "Page::default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: u64,
    /// The `next_cursor` of the page before. Without it the first page is answered.
    #[param(pattern = "^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$")]
    pub cursor: Option<String>,
    /// Lists only products of which fewer units are available than their `low_stock`.
    #[serde(default)]
    #[param(default = false)]
    pub low_stock: bool,
}

/// A page of the products of a space, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub struct Products {
    /// Products that pass the filter, in the order of their ids.
    pub products: Vec<Product>,
    /// The `cursor` of the next page; missing on the last one. A filtered page may have fewer
    /// products than its limit, or none, and still have a next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "espresso-cup")]
    pub next_cursor: Option<String>,
}

struct ListProducts(ScanStep);

impl Operation for ListProducts {
    const NAME: &'static str = "inventory/list_products";
    const CODES: &'static [Code] = CODES;
    type Reply = ListReply<Product>;

    fn bind(&self, invocation: &mut Invocation) {
        bind_products(invocation, &self.0);
    }
}

impl Listed for Product {
    fn id(&self) -> &str {
        self.product_id.as_str()
    }
}

/// List products
///
/// Answers a page of the products of the space, in the order of their ids. Every page shows the
/// products as they are when it is read.
#[utoipa::path(
    get,
    path = "/inventory/products",
    operation_id = ListProducts::NAME,
    tag = "inventory",
    params(ProductsPage),
    responses((status = OK, body = Products, description = "The page of products.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn list_products(
    State(store): State<Store>,
    Query(page): Query<ProductsPage>,
    Caller(context): Caller,
) -> api::Result<Products> {
    let scan = KeysetScan::new(page.limit, page.cursor)?.filtered();
    let keep = |product: &Product| {
        !page.low_stock || product.low_stock.is_some_and(|least| product.available < least)
    };
    let list = scan.page(&store, &context, ListProducts, keep).await?;
    let reply = Products { products: list.items, next_cursor: list.next_cursor };
    Ok(Answer::ok(Completed { reply, replayed: false }))
}
