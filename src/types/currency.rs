//! Currencies: ISO 4217, and those that the configuration declares.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use utoipa::{PartialSchema, ToSchema, openapi};

use super::Invalid;

/// A currency with its number of decimals: one of ISO 4217 that has a minor unit, or one that
/// `--currency` declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency {
    code: String,
    scale: u32,
}

/// Most decimals of a declared currency.
const MAX_SCALE: u32 = 18;

/// Declared currencies with their number of decimals. The map is global because serde reads a
/// currency without any context that could carry the configuration.
static DECLARED: RwLock<BTreeMap<String, u32>> = RwLock::new(BTreeMap::new());

impl Currency {
    /// The most decimals of an amount in this currency: 2 for USD.
    pub fn scale(&self) -> u32 {
        self.scale
    }

    /// Reads one value of `--currency`, such as `POINTS=0`.
    ///
    /// # Errors
    ///
    /// A sentence for the operator if the text is no declaration, or contradicts ISO 4217.
    pub fn declaration(text: &str) -> Result<Currency, String> {
        let form = "a currency is declared as CODE=DECIMALS, such as POINTS=0";
        let (code, scale) = text.split_once('=').ok_or(form)?;
        let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        if !(3..=12).contains(&code.len()) || !code.bytes().all(fits) {
            return Err("a currency's code is 3 to 12 of A-Z and 0-9".to_owned());
        }
        let scale = scale.parse().ok().filter(|scale| *scale <= MAX_SCALE);
        let scale = scale.ok_or_else(|| format!("a currency has 0 to {MAX_SCALE} decimals"))?;
        match iso_scale(code) {
            Some(known) if known != scale => {
                Err(format!("{code} has {known} decimals by ISO 4217"))
            }
            _ => Ok(Currency { code: code.to_owned(), scale }),
        }
    }

    /// Makes the currency known to the whole process until it ends.
    pub fn declare(self) {
        DECLARED.write().unwrap_or_else(PoisonError::into_inner).insert(self.code, self.scale);
    }
}

fn iso_scale(code: &str) -> Option<u32> {
    iso_currency::Currency::from_code(code)?.exponent().map(u32::from)
}

fn declared_scale(code: &str) -> Option<u32> {
    DECLARED.read().unwrap_or_else(PoisonError::into_inner).get(code).copied()
}

impl Currency {
    /// True for a text that a currency's code can be, whether or not there is such a currency.
    pub fn is_code(text: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        (3..=12).contains(&text.len()) && text.bytes().all(allowed)
    }
}

impl Default for Currency {
    fn default() -> Currency {
        Currency { code: "USD".to_owned(), scale: 2 }
    }
}

/// Fails with `validation_failed`.
impl TryFrom<String> for Currency {
    type Error = Invalid;

    fn try_from(code: String) -> Result<Currency, Invalid> {
        match iso_scale(&code).or_else(|| declared_scale(&code)) {
            Some(scale) => Ok(Currency { code, scale }),
            None => {
                let detail = "A currency is a code of ISO 4217 that has a minor unit, such as USD, \
                              or one that the service's configuration declares.";
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
            .description(Some(
                "A currency code of ISO 4217, or one that the configuration declares.",
            ))
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

    #[test]
    fn takes_what_is_declared() {
        Currency::declaration("GEMS42=3").unwrap().declare();
        assert_eq!(Currency::try_from("GEMS42".to_owned()).unwrap().scale(), 3);
        assert!(Currency::declaration("USD=2").is_ok());
        for bad in ["GEMS", "GEMS=", "GEMS=x", "GEMS=19", "gems=1", "GE=1", "USD=3", "A{}B=1"] {
            assert!(Currency::declaration(bad).is_err(), "{bad}");
        }
    }
}
