use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::{PartialSchema, ToSchema, openapi};

use super::Invalid;

/// A currency of ISO 4217 that has a minor unit, and how many decimals that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency {
    code: String,
    scale: u32,
}

impl Currency {
    /// How many decimals an amount of it may have.
    pub fn scale(&self) -> u32 {
        self.scale
    }
}

impl Default for Currency {
    fn default() -> Currency {
        Currency { code: "USD".to_owned(), scale: 2 }
    }
}

impl TryFrom<String> for Currency {
    type Error = Invalid;

    fn try_from(code: String) -> Result<Currency, Invalid> {
        let exponent = iso_currency::Currency::from_code(&code).and_then(|known| known.exponent());
        match exponent {
            Some(scale) => Ok(Currency { code, scale: u32::from(scale) }),
            None => {
                let detail = "A currency is a code of ISO 4217 that has a minor unit, such as USD.";
                Err(Invalid::new("validation_failed", detail))
            }
        }
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.code
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)
    }
}

impl PartialSchema for Currency {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        openapi::ObjectBuilder::new()
            .schema_type(openapi::schema::Type::String)
            .description(Some("A code of ISO 4217."))
            .pattern(Some("^[A-Z0-9]{3,12}$"))
            .examples(["USD"])
            .build()
            .into()
    }
}

impl ToSchema for Currency {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_decimals() {
        for (code, scale) in [("USD", 2), ("JPY", 0), ("KWD", 3)] {
            assert_eq!(Currency::try_from(code.to_owned()).unwrap().scale(), scale);
        }
        for code in ["usd", "", "XAU", "NOPE"] {
            assert!(Currency::try_from(code.to_owned()).is_err(), "{code}");
        }
    }
}
