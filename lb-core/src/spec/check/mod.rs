//! Holds the tree against the shape: what can be said of one value alone.
//!
//! Whatever is wrong is reported and rejected, so that the rest still deserialises and nobody reports it twice.

mod number;
mod words;

use super::later;
use super::mistake::{Findings, shown};
use super::near::nearest;
use super::scalar::{self, Odd, Scalar};
use super::shape::{Record, Shape, Text};
use super::tree::{Entry, Kind, NodeId, Spot, Tree};
use words::{advice, expected, join, owner, title};

/// Reports and rejects everything in `tree` that does not fit `shape`.
pub(super) fn check(tree: &mut Tree, shape: &Shape, findings: &mut Findings) {
    Checker { tree, document: shape, findings }.value(Tree::ROOT, shape);
}

struct Checker<'c> {
    tree: &'c mut Tree,
    /// The whole shape, to say where a misplaced key belongs.
    document: &'c Shape,
    findings: &'c mut Findings,
}

impl Checker<'_> {
    fn value(&mut self, id: NodeId, shape: &Shape) {
        if self.tree.is_rejected(id) {
            return;
        }
        match shape {
            Shape::Record(record) if matches!(self.tree.node(id).kind, Kind::Map(_)) => self.record(id, record),
            Shape::List { items, len_max } if matches!(self.tree.node(id).kind, Kind::List(_)) => {
                self.list(id, items, *len_max);
            }
            Shape::Map { values, len_max } if matches!(self.tree.node(id).kind, Kind::Map(_)) => {
                self.map(id, values, *len_max);
            }
            Shape::OneOf(shapes) => match self.choose(id, shapes) {
                Some(chosen) => {
                    self.drop_nulls(id, chosen, shapes);
                    self.value(id, chosen);
                }
                None => self.wrong_kind(id, shape),
            },
            _ => self.scalar(id, shape),
        }
    }

    fn record(&mut self, id: NodeId, record: &Record) {
        let entries = self.tree.entries(id).to_vec();
        // A key that could not be read may be any of those that seem to be missing.
        let unreadable = entries.iter().any(|entry| entry.key.is_empty() && self.tree.is_rejected(entry.value));
        let mut meant = Vec::new();
        for entry in &entries {
            if self.tree.is_rejected(entry.value) {
                continue;
            }
            match record.field(&entry.key) {
                Some(_) if self.tree.is_null(entry.value) => {}
                Some(shape) => self.value(entry.value, shape),
                None => meant.extend(self.unknown_key(entry, record)),
            }
        }
        if unreadable {
            return;
        }
        // A key that was mistyped is not missing as well.
        for key in record.required.iter().filter(|key| !meant.contains(&key.as_str())) {
            let written = entries.iter().find(|entry| entry.key == *key).map(|entry| entry.value);
            if written.is_none_or(|value| !self.tree.is_rejected(value) && self.tree.is_null(value)) {
                let mut spot = self.tree.spot_of_key(id, key);
                if written.is_none() {
                    spot.path = join(&spot.path, key);
                }
                let help = format!("{} needs it", title(&record.def));
                self.findings.push(spot, format!("`{key}` is missing"), help);
            }
        }
    }

    /// Returns the key that was probably meant.
    fn unknown_key<'r>(&mut self, entry: &Entry, record: &'r Record) -> Option<&'r str> {
        let (key, value) = (entry.key.as_str(), entry.value);
        // Not `spot_of_key`, which would look for the key again: a document may have very many.
        let spot = Spot { span: entry.key_span, path: self.tree.path(value) };
        if later::is_key(&record.def, key) {
            if !later::asks_for_nothing(self.tree, value) {
                self.findings.push(spot, format!("`{key}` {}", later::MESSAGE), "leave it out".to_owned());
            }
            self.tree.reject(value);
            return None;
        }
        self.tree.reject(value);
        if self.findings.is_full() {
            self.findings.push(spot, "", None);
            return None;
        }
        let near = nearest(key, record.keys().chain(later::keys(&record.def)));
        let help = match near {
            Some(near) if later::is_key(&record.def, near) => {
                format!("`{near}` {}", later::MESSAGE)
            }
            Some(near) => format!("did you mean `{near}`?"),
            None => match owner(self.document, key) {
                Some(def) => format!("`{key}` belongs to {}", title(def)),
                None => {
                    // In an order that does not hang on how the schema's maps were compiled.
                    let mut keys: Vec<_> = record.keys().collect();
                    keys.sort_unstable();
                    format!("{} may have: {}", title(&record.def), keys.join(", "))
                }
            },
        };
        self.findings.push(spot, format!("unknown key {}", shown(key)), help);
        near
    }

    fn list(&mut self, id: NodeId, items: &Shape, len_max: usize) {
        let Kind::List(ids) = &self.tree.node(id).kind else {
            return;
        };
        let ids = ids.clone();
        if let Some(first_over) = ids.get(len_max) {
            let spot = self.tree.spot(*first_over);
            self.findings.push(
                spot,
                format!("{} entries are more than this list may have", ids.len()),
                format!("at most {len_max}"),
            );
        }
        for (position, item) in ids.into_iter().enumerate() {
            if position < len_max {
                self.value(item, items);
            } else {
                self.tree.reject(item);
            }
        }
    }

    fn map(&mut self, id: NodeId, values: &Shape, len_max: usize) {
        let written: Vec<NodeId> = self.tree.entries(id).iter().map(|entry| entry.value).collect();
        if let Some(first_over) = written.get(len_max) {
            let spot = self.tree.spot(*first_over);
            let message = format!("{} entries are more than this mapping may have", written.len());
            self.findings.push(spot, message, format!("at most {len_max}"));
        }
        for (position, value) in written.into_iter().enumerate() {
            if position >= len_max {
                self.tree.reject(value);
            } else if !self.tree.is_null(value) {
                self.value(value, values);
            }
        }
    }

    /// The alternative that was meant: one of the same kind; among records the one that knows most of the keys.
    fn choose<'s>(&self, id: NodeId, shapes: &'s [Shape]) -> Option<&'s Shape> {
        let written: Vec<&str> = self
            .tree
            .entries(id)
            .iter()
            .filter(|entry| !self.tree.is_null(entry.value))
            .map(|entry| entry.key.as_str())
            .take(TELLING_KEYS)
            .collect();
        let unknown = |shape: &Shape| match shape {
            // A slip of the pen still says which one was meant.
            Shape::Record(record) => written.iter().filter(|key| nearest(key, record.keys()).is_none()).count(),
            _ => 0,
        };
        shapes.iter().filter(|shape| self.same_kind(id, shape)).min_by_key(|shape| {
            let unknown = unknown(shape);
            // A key nobody knows is more likely a slip in the larger record than in the smaller.
            let fields = if let Shape::Record(record) = shape { record.fields.len() } else { 0 };
            if unknown == 0 { (0, fields as isize) } else { (unknown, -(fields as isize)) }
        })
    }

    /// Nulls that only another alternative knows are as good as absent.
    fn drop_nulls(&mut self, id: NodeId, chosen: &Shape, shapes: &[Shape]) {
        let known = |shape: &Shape, key: &str| matches!(shape, Shape::Record(record) if record.field(key).is_some());
        let idle = self.tree.entries(id).iter().filter(|entry| {
            self.tree.is_null(entry.value)
                && !known(chosen, &entry.key)
                && shapes.iter().any(|shape| known(shape, &entry.key))
        });
        for value in idle.map(|entry| entry.value).collect::<Vec<_>>() {
            self.tree.reject(value);
        }
    }

    fn same_kind(&self, id: NodeId, shape: &Shape) -> bool {
        match (&self.tree.node(id).kind, shape) {
            (Kind::Map(_), Shape::Record(_)) | (Kind::List(_), Shape::List { .. }) => true,
            (Kind::Scalar { text, quoted }, _) => {
                let meaning = if *quoted { Scalar::Text } else { scalar::resolve(text) };
                match shape {
                    Shape::Integer { .. } => matches!(meaning, Scalar::Integer(_)),
                    Shape::Bool => matches!(meaning, Scalar::Bool(_)),
                    Shape::False => meaning == Scalar::Bool(false),
                    Shape::Text(_) | Shape::Word { .. } => meaning == Scalar::Text,
                    _ => false,
                }
            }
            _ => false,
        }
    }

    fn scalar(&mut self, id: NodeId, shape: &Shape) {
        let Kind::Scalar { text, quoted } = &self.tree.node(id).kind else {
            return self.wrong_kind(id, shape);
        };
        let text = text.clone();
        let meaning = if *quoted { Scalar::Text } else { scalar::resolve(&text) };
        match (shape, meaning) {
            (Shape::Integer { min, max }, Scalar::Integer(value)) => self.range(id, value, *min, *max),
            (Shape::Integer { min, max }, Scalar::OddNumber(odd)) => self.odd_number(id, &text, odd, (*min, *max)),
            (Shape::Seconds { min_ms, max_ms }, Scalar::Integer(_) | Scalar::OddNumber(_)) => {
                self.seconds(id, &text, meaning, (*min_ms, *max_ms));
            }
            // A word that looks like a number: a version.
            (Shape::Word { words, .. }, Scalar::OddNumber(Odd::Fraction)) if words.contains(&text) => {}
            (Shape::Bool, Scalar::Bool(_)) | (Shape::False, Scalar::Bool(false)) => {}
            (Shape::Word { def, words }, Scalar::Text) => self.word(id, &text, def, words),
            (Shape::Text(shape), Scalar::Text) => self.text(id, &text, shape),
            _ => self.wrong_kind(id, shape),
        }
    }

    fn word(&mut self, id: NodeId, text: &str, def: &str, words: &[String]) {
        if words.iter().any(|word| word == text) {
            return;
        }
        let upper = text.to_ascii_uppercase();
        if later::is_word(def, text) || later::is_word(def, &upper) {
            return self.reject(id, format!("`{upper}` {}", later::MESSAGE), format!("one of: {}", words.join(", ")));
        }
        let help = match nearest(text, words.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of: {}", words.join(", ")),
        };
        self.reject(id, format!("unknown word {}", shown(text)), help);
    }

    fn text(&mut self, id: NodeId, text: &str, shape: &Text) {
        let len = text.chars().count();
        if shape.uuid && (text.len() != 36 || uuid::Uuid::try_parse(text).is_err()) {
            let help = "like 5d3f7c52-93c4-4d0e-9a55-776569720001; without one, an id is made from the name".to_owned();
            self.reject(id, format!("{} is not a UUID", shown(text)), help);
        } else if len > shape.len_max {
            self.reject(id, format!("{len} characters are too many"), format!("at most {}", shape.len_max));
        } else if len < shape.len_min {
            self.reject(id, "this may not be empty", "write a value or leave the key out".to_owned());
        } else if shape.one_line && text.contains(|c: char| c.is_control()) {
            self.reject(id, "line breaks and tabs are not allowed here", None);
        }
    }

    fn wrong_kind(&mut self, id: NodeId, shape: &Shape) {
        let (found, help) = match &self.tree.node(id).kind {
            Kind::List(_) => ("a list".to_owned(), None),
            Kind::Map(_) => ("a mapping".to_owned(), None),
            Kind::Scalar { text, quoted } => {
                let meaning = if *quoted { Scalar::Text } else { scalar::resolve(text) };
                let found = match meaning {
                    Scalar::Null => "nothing".to_owned(),
                    Scalar::Bool(value) => format!("`{value}`"),
                    Scalar::Integer(_) | Scalar::OddNumber(_) => {
                        format!("the number {}", shown(text))
                    }
                    Scalar::Text => format!("the text {}", shown(text)),
                };
                (found, advice(text, *quoted, shape))
            }
        };
        self.reject(id, format!("expected {}, found {found}", expected(shape)), help);
    }

    fn reject(&mut self, id: NodeId, message: impl Into<String>, help: impl Into<Option<String>>) {
        let spot: Spot = self.tree.spot(id);
        self.findings.push(spot, message, help);
        self.tree.reject(id);
    }
}

/// So many keys of a mapping say which of several records was meant.
const TELLING_KEYS: usize = 64;
