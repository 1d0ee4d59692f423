//! The JSON Schema of the document, compiled into what the check asks: which keys, which kind, which bounds.
//!
//! Only the vocabulary that the types of this floor produce is known. A test holds that nothing else occurs.

use serde_json::Value;

/// What a value may be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Record(Record),
    List {
        items: Box<Shape>,
        len_max: usize,
    },
    Integer {
        min: i64,
        max: i64,
    },
    /// A number of seconds, maybe with a fraction, here in milliseconds.
    Seconds {
        min_ms: i64,
        max_ms: i64,
    },
    /// A mapping whose keys are the operator's own.
    Map {
        values: Box<Shape>,
        len_max: usize,
    },
    Text(Text),
    Bool,
    /// Only `false`.
    False,
    /// One of these words.
    Word {
        def: String,
        words: Vec<String>,
    },
    /// One of these, told apart by kind, and records by their keys.
    OneOf(Vec<Shape>),
    /// Something the compiler does not know; a test holds that it does not occur.
    Unknown(String),
}

/// A mapping with known keys.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// Name of the type in the schema's `$defs`; `Document` for the root.
    pub(super) def: String,
    /// In the order of the type.
    pub(super) fields: Vec<(String, Shape)>,
    pub(super) required: Vec<String>,
}

impl Record {
    pub(super) fn field(&self, key: &str) -> Option<&Shape> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, shape)| shape)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Text {
    pub(super) len_min: usize,
    pub(super) len_max: usize,
    /// Neither line breaks nor tabs.
    pub(super) one_line: bool,
    pub(super) uuid: bool,
}

/// The schema's way to say "no control character".
pub(super) const ONE_LINE: &str = r"^[^\u0000-\u001F\u007F-\u009F]*$";

/// The shape of a whole document. Compiled anew for each: a data plane reads few and stays small between them.
pub(super) fn document() -> Shape {
    let schema = super::json_schema();
    Compiler { defs: &schema["$defs"] }.compile(&schema, "Document")
}

struct Compiler<'s> {
    defs: &'s Value,
}

impl Compiler<'_> {
    /// Types refer to each other without cycles, so this ends.
    fn compile(&self, schema: &Value, def: &str) -> Shape {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            return self.compile(&self.defs[name], name);
        }
        for union in ["anyOf", "oneOf"] {
            if let Some(alternatives) = schema[union].as_array() {
                return self.union(alternatives, def);
            }
        }
        if let Some(words) = words(schema) {
            return Shape::Word { def: def.to_owned(), words };
        }
        if schema["const"] == Value::Bool(false) {
            return Shape::False;
        }
        match kind(schema) {
            Some("object") if schema["additionalProperties"].is_object() => Shape::Map {
                values: Box::new(self.compile(&schema["additionalProperties"], def)),
                len_max: bound(schema, "maxProperties").unwrap_or(usize::MAX),
            },
            Some("object") => self.record(schema, def),
            Some("array") => Shape::List {
                items: Box::new(self.compile(&schema["items"], def)),
                len_max: bound(schema, "maxItems").unwrap_or(usize::MAX),
            },
            Some("integer") => Shape::Integer {
                min: schema["minimum"].as_i64().unwrap_or(i64::MIN),
                max: schema["maximum"].as_i64().unwrap_or(i64::MAX),
            },
            Some("number") => Shape::Seconds {
                min_ms: thousandths(&schema["minimum"]).unwrap_or(i64::MIN),
                max_ms: thousandths(&schema["maximum"]).unwrap_or(i64::MAX),
            },
            Some("boolean") => Shape::Bool,
            Some("string") => text(schema),
            _ => Shape::Unknown(schema.to_string()),
        }
    }

    fn union(&self, alternatives: &[Value], def: &str) -> Shape {
        let mut shapes: Vec<Shape> = Vec::new();
        for alternative in alternatives.iter().filter(|a| a["type"] != "null") {
            match (self.compile(alternative, def), shapes.last_mut()) {
                (Shape::OneOf(more), _) => shapes.extend(more),
                (Shape::Word { words: more, .. }, Some(Shape::Word { words, .. })) => words.extend(more),
                (shape, _) => shapes.push(shape),
            }
        }
        if shapes.len() == 1 { shapes.remove(0) } else { Shape::OneOf(shapes) }
    }

    fn record(&self, schema: &Value, def: &str) -> Shape {
        let Some(properties) = schema["properties"].as_object() else {
            return Shape::Unknown(schema.to_string());
        };
        let fields = properties.iter().map(|(key, value)| (key.clone(), self.compile(value, key))).collect();
        let required = strings(&schema["required"]);
        Shape::Record(Record { def: def.to_owned(), fields, required })
    }
}

fn text(schema: &Value) -> Shape {
    let one_line = match schema["pattern"].as_str() {
        None => false,
        Some(ONE_LINE) => true,
        Some(_) => return Shape::Unknown(schema.to_string()),
    };
    Shape::Text(Text {
        len_min: bound(schema, "minLength").unwrap_or(0),
        len_max: bound(schema, "maxLength").unwrap_or(usize::MAX),
        one_line,
        uuid: schema["format"] == "uuid",
    })
}

/// The type, without the `null` that every optional value allows.
fn kind(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        _ => None,
    }
}

fn words(schema: &Value) -> Option<Vec<String>> {
    match (&schema["enum"], &schema["const"]) {
        (Value::Array(_), _) => Some(strings(&schema["enum"])),
        (_, Value::String(word)) => Some(vec![word.clone()]),
        _ => None,
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn bound(schema: &Value, key: &str) -> Option<usize> {
    schema[key].as_u64().map(|bound| bound as usize)
}

fn thousandths(bound: &Value) -> Option<i64> {
    bound.as_f64().map(|bound| (bound * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(shape: &Shape, seen: &mut dyn FnMut(&Shape)) {
        seen(shape);
        match shape {
            Shape::Record(record) => record.fields.iter().for_each(|(_, shape)| visit(shape, seen)),
            Shape::List { items, .. } => visit(items, seen),
            Shape::Map { values, .. } => visit(values, seen),
            Shape::OneOf(shapes) => shapes.iter().for_each(|shape| visit(shape, seen)),
            _ => {}
        }
    }

    #[test]
    fn the_schema_uses_only_known_words() {
        visit(&document(), &mut |shape| assert!(!matches!(shape, Shape::Unknown(_)), "{shape:?}"));
    }

    #[test]
    fn what_is_not_built_yet_is_about_types_that_exist_and_keys_that_do_not() {
        let mut defs = Vec::new();
        visit(&document(), &mut |shape| match shape {
            Shape::Record(record) => {
                defs.push(record.def.clone());
                for key in record.keys() {
                    assert!(!super::super::later::is_key(&record.def, key), "{}.{key}", record.def);
                }
            }
            Shape::Word { def, words } => {
                defs.push(def.clone());
                for word in words {
                    assert!(!super::super::later::is_word(def, word), "{def} {word}");
                }
            }
            _ => {}
        });
        for def in super::super::later::defs() {
            assert!(defs.iter().any(|known| known == def), "{def}");
        }
    }
}
