//! The words everyone speaks: values that are valid by construction, so that nothing behind the
//! door has to check them again.

mod amount;
mod code;
pub mod codes;
mod count;
mod currency;
mod field;
mod id;
mod invalid;
mod metadata;
mod quantity;
mod text;
mod timestamp;
mod ttl;

pub use amount::{Amount, AmountOrZero, Money};
pub use code::Code;
pub(crate) use code::code_table;
pub use count::Count;
pub use currency::Currency;
pub use field::{named, objects, word};
pub use id::Id;
pub use invalid::Invalid;
pub use metadata::Metadata;
pub use quantity::{Quantity, Stock};
pub use text::Text;
pub use timestamp::Timestamp;
pub use ttl::Ttl;
