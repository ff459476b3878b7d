use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{CODES, Product, bind_product};
use crate::{
    api::{self, Answer, Caller, Query},
    store::{Completed, Invocation, Operation, Store},
    types::{Code, Id},
};

/// Which products.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProductsPage {
    /// The most products to answer.
    #[serde(default = "ProductsPage::default_limit")]
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: u64,
    /// The `next_cursor` of the page before; without it, the first page.
    pub cursor: Option<String>,
    /// Only those whose stock is low.
    #[serde(default)]
    #[param(default = false)]
    pub low_stock: bool,
}

impl ProductsPage {
    fn default_limit() -> u64 {
        50
    }
}

/// Products of a space, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub struct Products {
    pub products: Vec<Product>,
    /// Where the next page begins; missing on the last one. With a filter a page may have fewer
    /// products than its limit, or none, and still have a next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "espresso-cup")]
    pub next_cursor: Option<String>,
}

/// A step of a walk through the products of a space: it tells about those that the step before has
/// named, because a script is given every key that it reads.
struct ListPage<'a> {
    named: &'a [Id],
    after: Option<&'a Id>,
    count: u64,
}

#[derive(Debug, Deserialize)]
struct ListReply {
    products: Vec<Product>,
    next: Vec<Id>,
}

impl Operation for ListPage<'_> {
    const NAME: &'static str = "inventory/list_products";
    const CODES: &'static [Code] = CODES;
    type Reply = ListReply;

    fn bind(&self, invocation: &mut Invocation) {
        invocation.key("index_key", "index", "products");
        for id in self.named {
            bind_product(invocation, id);
        }
        invocation.arg("after", self.after.map_or("", Id::as_str)).arg("count", self.count);
        for id in self.named {
            invocation.arg("product_id", id);
        }
    }
}

/// How many products one page looks at, whatever is filtered out of them.
const MOST_LOOKED_AT: usize = 5000;

/// List products
///
/// In the order of their ids. Each page is a look of its own.
#[utoipa::path(
    get,
    path = "/inventory/products",
    operation_id = ListPage::NAME,
    tag = "inventory",
    params(ProductsPage),
    responses((status = OK, body = Products, description = "One page.")),
    extensions(("x-refusals" = json!(["invalid_query"]))),
)]
pub async fn list_products(
    State(store): State<Store>,
    Query(page): Query<ProductsPage>,
    Caller(context): Caller,
) -> api::Result<Products> {
    let limit = api::page_limit(page.limit)?;
    let mut after = api::id_cursor(page.cursor)?;
    let (mut products, mut named, mut looked_at) = (Vec::new(), Vec::new(), 0);
    loop {
        let walk = ListPage { named: &named, after: after.as_ref(), count: page.limit };
        let ListReply { products: told, next } = store.run(&walk, &context).await?.reply;
        looked_at += told.len();
        products.extend(told.into_iter().filter(|product| {
            !page.low_stock || product.low_stock.is_some_and(|least| product.available < least)
        }));
        if products.len() >= limit || next.is_empty() || looked_at >= MOST_LOOKED_AT {
            let more = products.len() > limit || !next.is_empty();
            products.truncate(limit);
            let last = products.last().filter(|_| products.len() == limit);
            let seen = last.map(|product: &Product| &product.product_id).or(after.as_ref());
            let next_cursor = seen.filter(|_| more).map(Id::to_string);
            let reply = Products { products, next_cursor };
            return Ok(Answer::ok(Completed { reply, replayed: false }));
        }
        after = next.last().cloned();
        named = next;
    }
}
