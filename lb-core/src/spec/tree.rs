//! What was written, as a tree of nodes that know their place.
//!
//! Nodes live in one vector and name each other by index: dropping a deep document needs no recursion, a
//! node finds its path by walking to the root, and later stages carry a [`NodeId`] instead of a reference.
//! The readers (`yaml`, `json`) write it; the shape check marks what is wrong as rejected; then it is only read.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The key under which [`Tree::value`] hides a mapping's own id. No document can hold it: control characters
/// are refused by the readers.
pub(super) const AT: &str = "\u{0}at";

/// One character's place, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// From a character up to, not including, another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Place,
    pub(super) end: Place,
}

impl Span {
    /// A place without width.
    pub(super) fn point(place: Place) -> Self {
        Self { start: place, end: place }
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// Where a mistake is drawn: a span of the text, and the path in the tree.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) span: Span,
    pub(super) path: String,
}

impl Spot {
    pub(super) fn line(&self) -> usize {
        self.span.start.line
    }
}

/// Index of a node in its [`Tree`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct NodeId(u32);

#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
    /// The mapping or list it stands in, and its position there. The root points to itself.
    parent: NodeId,
    position: usize,
    /// A mistake was reported for it: it is left out of [`Tree::value`], and nobody reports it again.
    rejected: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Scalar { text: String, quoted: bool },
    List(Vec<NodeId>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: NodeId,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    pub(super) const ROOT: NodeId = NodeId(0);

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// Adds a node under `parent`, whose list or mapping the caller extends.
    pub(super) fn push(&mut self, span: Span, kind: Kind, parent: NodeId, position: usize) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Node { span, kind, parent, position, rejected: false });
        id
    }

    pub(super) fn reject(&mut self, id: NodeId) {
        self.node_mut(id).rejected = true;
    }

    pub(super) fn is_rejected(&self, id: NodeId) -> bool {
        self.node(id).rejected
    }

    /// The entries of a mapping; none for anything else.
    pub(super) fn entries(&self, id: NodeId) -> &[Entry] {
        match &self.node(id).kind {
            Kind::Map(entries) => entries,
            Kind::Scalar { .. } | Kind::List(_) => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub(super) fn items(&self, id: NodeId) -> &[NodeId] {
        match &self.node(id).kind {
            Kind::List(items) => items,
            Kind::Scalar { .. } | Kind::Map(_) => &[],
        }
    }

    pub(super) fn entry(&self, map: NodeId, key: &str) -> Option<&Entry> {
        self.entries(map).iter().find(|entry| entry.key == key)
    }

    /// True for `key:`, `key: null` and `key: ~`: written, but the same as absent.
    pub(super) fn is_null(&self, id: NodeId) -> bool {
        match &self.node(id).kind {
            Kind::Scalar { text, quoted: false } => super::scalar::is_null(text),
            Kind::Scalar { .. } | Kind::List(_) | Kind::Map(_) => false,
        }
    }

    /// True if `key` was written in `map`, or something in it, and a mistake was reported there.
    pub(super) fn is_lost(&self, map: NodeId, key: &str) -> bool {
        self.entry(map, key).is_some_and(|entry| self.is_rejected(entry.value))
    }

    pub(super) fn spot(&self, id: NodeId) -> Spot {
        Spot { span: self.node(id).span, path: self.path(id) }
    }

    /// The place of a key's value; of the mapping when the key is not there.
    pub(super) fn spot_of(&self, map: NodeId, key: &str) -> Spot {
        self.spot(self.entry(map, key).map_or(map, |entry| entry.value))
    }

    /// The place of a key itself; of the mapping when the key is not there.
    pub(super) fn spot_of_key(&self, map: NodeId, key: &str) -> Spot {
        match self.entry(map, key) {
            Some(entry) => Spot { span: entry.key_span, path: self.path(entry.value) },
            None => self.spot(map),
        }
    }

    /// `loadbalancer.listeners[0].protocol_port`.
    pub(super) fn path(&self, id: NodeId) -> String {
        let mut steps = Vec::new();
        let mut at = id;
        while at != Self::ROOT {
            let node = self.node(at);
            match &self.node(node.parent).kind {
                Kind::Map(entries) => steps.push(entries.get(node.position).map_or("", |e| &e.key).to_owned()),
                Kind::List(_) | Kind::Scalar { .. } => steps.push(format!("[{}]", node.position)),
            }
            at = node.parent;
        }
        let mut path = String::new();
        for step in steps.iter().rev() {
            if !path.is_empty() && !step.starts_with('[') {
                path.push('.');
            }
            path.push_str(step);
        }
        path
    }

    /// The part of the document that is right, as a value to deserialise: nulls and rejected nodes are left
    /// out, and every mapping but the root carries its id under [`AT`]. Depth is bounded by the readers.
    pub(super) fn value(&self, id: NodeId) -> Value {
        match &self.node(id).kind {
            Kind::Scalar { text, quoted: true } => Value::String(text.clone()),
            Kind::Scalar { text, quoted: false } => super::scalar::resolve(text).into_value(text),
            Kind::List(items) => items.iter().filter(|i| !self.is_rejected(**i)).map(|i| self.value(*i)).collect(),
            Kind::Map(entries) => {
                let present = entries.iter().filter(|e| !self.is_rejected(e.value) && !self.is_null(e.value));
                let mut map: Map<String, Value> =
                    present.map(|entry| (entry.key.clone(), self.value(entry.value))).collect();
                if id != Self::ROOT {
                    map.insert(AT.to_owned(), Value::from(id.0));
                }
                Value::Object(map)
            }
        }
    }
}
