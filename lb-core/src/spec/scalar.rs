//! What an unquoted word means: YAML 1.2's core schema, which is also JSON's.

use serde_json::Value;

/// The meaning of a plain (unquoted) scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// A whole number as everybody reads it: no plus sign, no leading zero, no base, in the range of `i64`.
    Integer(i64),
    /// A number that is not written as one expects of a whole number: the reason says how it differs.
    OddNumber(Odd),
    Text,
}

/// Why a number is not a plain whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    Fraction,
    Exponent,
    /// `0x1F` or `0o17`, with its value when it fits.
    Based(Option<i64>),
    /// `+80` or `080`.
    Decorated(Option<i64>),
    TooBig,
    NotFinite,
}

impl Scalar {
    pub(super) fn into_value(self, text: &str) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Integer(value) => Value::from(value),
            Self::OddNumber(_) | Self::Text => Value::String(text.to_owned()),
        }
    }
}

pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

pub(super) fn resolve(text: &str) -> Scalar {
    match text {
        _ if is_null(text) => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Bool(true),
        "false" | "False" | "FALSE" => Scalar::Bool(false),
        _ => number(text),
    }
}

fn number(text: &str) -> Scalar {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(radix))
        {
            return Scalar::OddNumber(Odd::Based(i64::from_str_radix(digits, radix).ok()));
        }
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let decorated = text.starts_with('+') || (unsigned.len() > 1 && unsigned.starts_with('0'));
        return match text.parse() {
            value if decorated => Scalar::OddNumber(Odd::Decorated(value.ok())),
            Ok(value) => Scalar::Integer(value),
            Err(_) => Scalar::OddNumber(Odd::TooBig),
        };
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Scalar::OddNumber(Odd::NotFinite);
    }
    fraction(unsigned).map_or(Scalar::Text, Scalar::OddNumber)
}

/// `1.5`, `.5`, `1.`, `1e3`, `1.5e-3`.
fn fraction(unsigned: &str) -> Option<Odd> {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !digits(whole) || !digits(part) || (whole.is_empty() && part.is_empty()) {
        return None;
    }
    match exponent {
        None => Some(Odd::Fraction),
        Some(exponent) => {
            let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            (!power.is_empty() && digits(power)).then_some(Odd::Exponent)
        }
    }
}

/// A decimal number of seconds in milliseconds; `None` if it is none, is finer than that, or too large.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let part = part.trim_end_matches('0');
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 3 || unsigned.trim_matches('.').is_empty() {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: i64 = format!("{part:0<3}").parse().ok()?;
    let ms = whole.checked_mul(1000)?.checked_add(part)?;
    Some(if text.starts_with('-') { -ms } else { ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_to_the_millisecond() {
        for (text, ms) in [
            ("5", Some(5000)),
            ("0.5", Some(500)),
            (".5", Some(500)),
            ("1.", Some(1000)),
            ("1.250", Some(1250)),
            ("0.0010", Some(1)),
            ("-0.5", Some(-500)),
            ("-3", Some(-3000)),
            ("0.0005", None),
            (".", None),
            ("", None),
            ("1e3", None),
            ("+1", None),
            ("99999999999999999999", None),
            ("9223372036854775807", None),
        ] {
            assert_eq!(milliseconds(text), ms, "{text}");
        }
    }

    #[test]
    fn words_mean_what_yaml_1_2_says() {
        let odd = Scalar::OddNumber;
        for (text, meaning) in [
            ("", Scalar::Null),
            ("~", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("yes", Scalar::Text),
            ("0", Scalar::Integer(0)),
            ("-1", Scalar::Integer(-1)),
            ("80", Scalar::Integer(80)),
            ("080", odd(Odd::Decorated(Some(80)))),
            ("+80", odd(Odd::Decorated(Some(80)))),
            ("0x50", odd(Odd::Based(Some(80)))),
            ("0x", Scalar::Text),
            ("1e3", odd(Odd::Exponent)),
            ("1.5", odd(Odd::Fraction)),
            (".5", odd(Odd::Fraction)),
            (".", Scalar::Text),
            ("e3", Scalar::Text),
            ("1e", Scalar::Text),
            (".inf", odd(Odd::NotFinite)),
            ("99999999999999999999", odd(Odd::TooBig)),
            ("20.20.20.6", Scalar::Text),
            ("-", Scalar::Text),
            ("1_000", Scalar::Text),
        ] {
            assert_eq!(resolve(text), meaning, "{text}");
        }
    }
}
