use std::{
    collections::BTreeMap,
    fmt,
    sync::{PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use utoipa::{PartialSchema, ToSchema, openapi};

use super::Invalid;

/// A currency and how many decimals it has: one of ISO 4217 that has a minor unit, or one that the
/// configuration declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency {
    code: String,
    scale: u32,
}

/// The most decimals that a currency can be declared with.
const MAX_SCALE: u32 = 18;

/// What the configuration has declared. It is one for the process, because a currency is judged
/// where it is read, and there is no other place that knows.
static DECLARED: RwLock<BTreeMap<String, u32>> = RwLock::new(BTreeMap::new());

impl Currency {
    /// How many decimals an amount of it may have.
    pub fn scale(&self) -> u32 {
        self.scale
    }

    /// Reads what the configuration declares: `POINTS=0`.
    ///
    /// # Errors
    ///
    /// A sentence, where it is no declaration or would change what ISO 4217 says.
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

    /// Makes it known to this process, for good.
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

impl Default for Currency {
    fn default() -> Currency {
        Currency { code: "USD".to_owned(), scale: 2 }
    }
}

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
            .description(Some("A code of ISO 4217, or one that the configuration declares."))
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
