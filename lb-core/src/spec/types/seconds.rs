//! Lengths of time in seconds, whole as Octavia writes them, or with a fraction.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;

use crate::spec::SECONDS_MAX;
use crate::spec::scalar;

/// At least `MIN_MS` milliseconds, at most [`SECONDS_MAX`] seconds, and no finer than a millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(in crate::spec) struct Seconds<const MIN_MS: u64> {
    pub(in crate::spec) ms: u64,
}

impl<const MIN_MS: u64> TryFrom<Value> for Seconds<MIN_MS> {
    type Error = &'static str;

    fn try_from(written: Value) -> Result<Self, Self::Error> {
        // A fraction reaches the types as the text it was written as.
        let text = match written {
            Value::String(text) => text,
            number => number.to_string(),
        };
        let ms = scalar::milliseconds(&text).and_then(|ms| u64::try_from(ms).ok());
        ms.map(|ms| Self { ms }).ok_or("not a number of seconds")
    }
}

impl<const MIN_MS: u64> JsonSchema for Seconds<MIN_MS> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("SecondsFrom{MIN_MS}Ms").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": MIN_MS as f64 / 1000.0, "maximum": SECONDS_MAX })
    }
}
