//! Amounts of money: decimal strings with exact digits, never floating point.

use std::{borrow::Cow, fmt};

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::{PartialSchema, ToSchema, openapi};

use super::{Invalid, limits::MAX_DIGITS};

/// An amount that moves: a decimal string above zero.
pub type Amount = DecimalAmount<1>;

/// An amount that may be zero: an initial balance, a limit, a price.
pub type AmountOrZero = DecimalAmount<0>;

/// An amount as a caller writes it: a decimal of at most 28 digits that is at least `MIN` in units
/// of its last decimal.
///
/// The currency decides how many decimals an amount may have, so this type keeps the digits and the
/// position of the point, without trailing zeros: `"12.30"` is `123` with one decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecimalAmount<const MIN: i128>(Decimal);

impl<const MIN: i128> DecimalAmount<MIN> {
    /// The digits without the point: `123` of `"12.3"`.
    pub fn digits(self) -> i128 {
        self.0.mantissa()
    }

    /// The number of decimals: 1 of `"12.3"`.
    pub fn decimals(self) -> u32 {
        self.0.scale()
    }

    /// The digits of an optional amount, as scripts take them: the empty string for `None`.
    pub fn digits_or_nothing(amount: Option<Self>) -> String {
        amount.map_or(String::new(), |amount| amount.digits().to_string())
    }

    /// The amount in minor units of a currency with `scale` decimals: 1230 of `"12.3"` with 2.
    ///
    /// # Errors
    ///
    /// `amount_scale_exceeded` if the amount has more decimals, and `amount_out_of_range` if the
    /// result has more than 28 digits.
    pub fn minor_units(self, scale: u32) -> Result<i128, Invalid> {
        let missing = scale.checked_sub(self.decimals()).ok_or_else(|| {
            let detail = format!("The currency has {scale} decimals, and the amount has more.");
            Invalid::new("amount_scale_exceeded", detail)
        })?;
        10_i128
            .checked_pow(missing)
            .and_then(|factor| self.digits().checked_mul(factor))
            .filter(|minor| *minor < 10_i128.pow(MAX_DIGITS as u32))
            .ok_or_else(out_of_range)
    }
}

fn out_of_range() -> Invalid {
    let detail = format!("An amount has at most {MAX_DIGITS} digits, its decimals included.");
    Invalid::new("amount_out_of_range", detail)
}

/// Fails with `invalid_amount`, `amount_not_positive` or `amount_out_of_range`.
impl<const MIN: i128> TryFrom<&str> for DecimalAmount<MIN> {
    type Error = Invalid;

    fn try_from(text: &str) -> Result<Self, Invalid> {
        // The crate would also accept underscores and a leading plus, so the text is checked here.
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            let detail = "An amount is a decimal string such as \"12.34\".";
            return Err(Invalid::new("invalid_amount", detail));
        }
        let significant = unsigned.trim_start_matches(['0', '.']);
        if significant.bytes().filter(u8::is_ascii_digit).count() > MAX_DIGITS {
            return Err(out_of_range());
        }
        let decimal = Decimal::from_str_exact(text).map_err(|_| out_of_range())?.normalize();
        // "-0" is refused too: a caller that writes a minus sign does not mean zero.
        if decimal.mantissa() < MIN || text.starts_with('-') {
            let detail = match MIN {
                0 => "The amount may not be below zero.",
                _ => "The amount must be above zero.",
            };
            return Err(Invalid::new("amount_not_positive", detail));
        }
        Ok(DecimalAmount(decimal))
    }
}

impl<'de, const MIN: i128> Deserialize<'de> for DecimalAmount<MIN> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<const MIN: i128>;

        impl<const MIN: i128> de::Visitor<'_> for Visitor<MIN> {
            type Value = DecimalAmount<MIN>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                DecimalAmount::try_from(text).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
                Err(number())
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
                Err(number())
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
                Err(number())
            }
        }

        fn number<E: de::Error>() -> E {
            let detail =
                "An amount is a string, because JSON numbers lose digits: write \"12.34\".";
            E::custom(Invalid::new("invalid_amount", detail))
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl<const MIN: i128> PartialSchema for DecimalAmount<MIN> {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        let description = match MIN {
            0 => {
                "An amount of money, zero or more: a decimal string, exact to 28 digits. JSON numbers \
                 are refused."
            }
            _ => {
                "An amount of money above zero: a decimal string, exact to 28 digits. JSON numbers are \
                 refused."
            }
        };
        money_schema(description, "^[0-9]+([.][0-9]+)?$")
    }
}

impl<const MIN: i128> ToSchema for DecimalAmount<MIN> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed(if MIN == 0 { "AmountOrZero" } else { "Amount" })
    }
}

/// Money in an answer: a decimal string with exactly the decimals of its currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money(String);

impl Money {
    /// Writes minor units of a currency with `scale` decimals: 1230 with 2 is `"12.30"`.
    pub fn from_minor_units(minor: i128, scale: u32) -> Money {
        let sign = if minor < 0 { "-" } else { "" };
        let decimals = scale as usize;
        let digits = format!("{:0width$}", minor.unsigned_abs(), width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        let point = if decimals == 0 { "" } else { "." };
        Money(format!("{sign}{whole}{point}{fraction}"))
    }
}

/// An amount in minor units as a script replies it: a whole number, or its digits as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinorUnits(i128);

impl MinorUnits {
    /// The decimal of the amount in a currency with `scale` decimals.
    pub fn money(self, scale: u32) -> Money {
        Money::from_minor_units(self.0, scale)
    }
}

impl<'de> Deserialize<'de> for MinorUnits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MinorUnits, D::Error> {
        let digits = String::deserialize(deserializer)?;
        digits.parse().map(MinorUnits).map_err(de::Error::custom)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialSchema for Money {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        let description =
            "Money in an answer: a decimal string with exactly the decimals of its currency.";
        money_schema(description, "^-?[0-9]{1,29}([.][0-9]+)?$")
    }
}

impl ToSchema for Money {}

fn money_schema(description: &str, pattern: &str) -> openapi::RefOr<openapi::Schema> {
    openapi::ObjectBuilder::new()
        .schema_type(openapi::schema::Type::String)
        .description(Some(description))
        .pattern(Some(pattern))
        .examples(["12.34"])
        .build()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        Amount::try_from(text).unwrap_err().code
    }

    #[test]
    fn keeps_every_digit() {
        let widest = "9999999999999999999999999.999";
        let amount = Amount::try_from(widest).unwrap();
        assert_eq!(amount.minor_units(3).unwrap(), 10_i128.pow(28) - 1);
        assert_eq!(Amount::try_from("12.30").unwrap(), Amount::try_from("0012.3").unwrap());
        assert_eq!(Amount::try_from("12.30").unwrap().minor_units(2).unwrap(), 1230);
        assert_eq!(Amount::try_from("1.0000").unwrap().minor_units(0).unwrap(), 1);
    }

    #[test]
    fn writes_minor_units() {
        let money = |minor, scale| Money::from_minor_units(minor, scale).to_string();
        assert_eq!(money(1234, 2), "12.34");
        assert_eq!(money(-5, 2), "-0.05");
        assert_eq!(money(0, 2), "0.00");
        assert_eq!(money(-70, 0), "-70");
        assert_eq!(money(10_i128.pow(28), 18), "10000000000.000000000000000000");
    }

    #[test]
    fn refuses_what_is_no_amount() {
        for text in
            ["", ".", "1.", ".5", "1e3", "+1", "1_000", "nan", "inf", "0x10", " 1", "1 ", "--1"]
        {
            assert_eq!(code(text), "invalid_amount", "{text:?}");
        }
        for text in ["0", "0.00", "-1", "-0.01"] {
            assert_eq!(code(text), "amount_not_positive", "{text:?}");
        }
        assert_eq!(AmountOrZero::try_from("-0").unwrap_err().code, "amount_not_positive");
        for text in ["12345678901234567890123456789", "1.2345678901234567890123456789"] {
            assert_eq!(code(text), "amount_out_of_range", "{text:?}");
        }
        let fine = Amount::try_from("0.001").unwrap();
        assert_eq!(fine.minor_units(2).unwrap_err().code, "amount_scale_exceeded");
        let wide = Amount::try_from("9999999999999999999999999999").unwrap();
        assert_eq!(wide.minor_units(2).unwrap_err().code, "amount_out_of_range");
    }
}
