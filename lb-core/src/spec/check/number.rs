//! Numbers held against their bounds: whole ones, and lengths of time.

use super::words::seconds_range;
use super::{Checker, NodeId, later, shown};
use crate::spec::scalar::{self, Odd, Scalar};

impl Checker<'_> {
    pub(super) fn range(&mut self, id: NodeId, value: i64, min: i64, max: i64) {
        if (min..=max).contains(&value) {
            return;
        }
        if min == max {
            let message = format!("{value} {}", later::MESSAGE);
            return self.reject(id, message, format!("leave the key out, or write {min}"));
        }
        self.reject(id, format!("{value} is out of range"), format!("from {min} to {max}"));
    }

    pub(super) fn odd_number(&mut self, id: NodeId, text: &str, odd: Odd, (min, max): (i64, i64)) {
        let written = shown(text);
        let range = format!("a whole number from {min} to {max}");
        let (message, help) = match odd {
            Odd::Fraction | Odd::NotFinite => (format!("expected a whole number, found {written}"), range),
            Odd::Exponent => {
                (format!("expected a whole number, found {written}"), format!("write all its digits: {range}"))
            }
            Odd::Based(Some(value)) => {
                (format!("expected a decimal number, found {written}"), format!("write {value}"))
            }
            Odd::Decorated(Some(value)) => {
                (format!("expected a plain number, found {written}"), format!("write {value}"))
            }
            Odd::TooBig | Odd::Based(None) | Odd::Decorated(None) => {
                (format!("{written} is out of range"), format!("from {min} to {max}"))
            }
        };
        self.reject(id, message, help);
    }

    pub(super) fn seconds(&mut self, id: NodeId, text: &str, meaning: Scalar, (min_ms, max_ms): (i64, i64)) {
        let written = shown(text);
        let range = seconds_range(min_ms, max_ms);
        let (message, help) = match (meaning, scalar::milliseconds(text)) {
            (Scalar::Integer(_) | Scalar::OddNumber(Odd::Fraction), Some(ms)) if (min_ms..=max_ms).contains(&ms) => {
                return;
            }
            (Scalar::Integer(_), _) | (Scalar::OddNumber(Odd::Fraction), Some(_)) => {
                (format!("{text} is out of range"), range)
            }
            (Scalar::OddNumber(Odd::Fraction), None) => (
                format!("{written} is no plain number of seconds, or finer than a millisecond"),
                format!("at most three decimals: {range}"),
            ),
            (Scalar::OddNumber(Odd::Exponent), _) => (
                format!("expected a plain number of seconds, found {written}"),
                format!("write all its digits: {range}"),
            ),
            (Scalar::OddNumber(Odd::Based(Some(value)) | Odd::Decorated(Some(value))), _) => {
                (format!("expected a plain number of seconds, found {written}"), format!("write {value}"))
            }
            _ => (format!("{written} is out of range"), range),
        };
        self.reject(id, message, help);
    }
}
