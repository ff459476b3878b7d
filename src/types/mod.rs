//! Values that are valid by construction: a handler that has one need not check it again. Bodies,
//! paths and query strings are read into them; scripts are given them as text.

mod amount;
mod code;
pub mod codes;
mod count;
mod currency;
mod enum_from_str;
mod fencing_token;
mod id;
mod integer_schema;
mod invalid;
mod limit_key;
pub mod limits;
mod metadata;
mod non_null;
mod objects;
mod quantity;
mod text;
mod timestamp;
mod ttl;
mod unique_map;

pub use amount::{Amount, AmountOrZero, MinorUnits, Money};
pub use code::Code;
pub(crate) use code::code_table;
pub use count::Count;
pub use currency::Currency;
pub use enum_from_str::enum_from_str;
pub use fencing_token::FencingToken;
pub use id::Id;
pub use invalid::Invalid;
pub use limit_key::LimitKey;
pub use metadata::Metadata;
pub use non_null::non_null;
pub use objects::objects;
pub use quantity::{Quantity, Stock};
pub use text::Text;
pub use timestamp::Timestamp;
pub use ttl::Ttl;
pub use unique_map::UniqueMap;
