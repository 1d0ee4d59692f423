//! Builds a [`Tree`] from what a reader finds, and refuses what no document may be: too deep, too large, a key
//! twice. Both readers end here, so YAML and JSON obey the same limits.

use std::collections::HashMap;

use super::mistake::Findings;
use super::tree::{Entry, Kind, NodeId, Place, Span, Spot, Tree};
use super::{DEPTH_MAX, NODES_MAX};

/// Reading cannot go on; why has been reported.
#[derive(Debug)]
pub(super) struct Stop;

#[derive(Debug, Default)]
pub(super) struct Builder {
    tree: Tree,
    open: Vec<Frame>,
    pub(super) findings: Findings,
}

/// A list or mapping that is not closed yet.
#[derive(Debug)]
struct Frame {
    id: NodeId,
    /// `None` in a list.
    keys: Option<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    seen: HashMap<String, Place>,
    /// A key that waits for its value; without a word if it was refused, and its value with it.
    pending: Option<(Option<String>, Span)>,
}

impl Builder {
    /// True if the next scalar will be a key.
    pub(super) fn wants_key(&self) -> bool {
        self.open.last().and_then(|frame| frame.keys.as_ref()).is_some_and(|keys| keys.pending.is_none())
    }

    /// Where the key that waits for its value ends.
    pub(super) fn pending_key_end(&self) -> Option<Place> {
        let (_, span) = self.open.last()?.keys.as_ref()?.pending.as_ref()?;
        Some(span.end)
    }

    pub(super) fn open_map(&mut self, span: Span) -> Result<(), Stop> {
        self.open(span, Kind::Map(Vec::new()), Some(Keys::default()))
    }

    pub(super) fn open_list(&mut self, span: Span) -> Result<(), Stop> {
        self.open(span, Kind::List(Vec::new()), None)
    }

    pub(super) fn close(&mut self) {
        self.open.pop();
    }

    /// A key or a value, whichever the place asks for.
    pub(super) fn scalar(&mut self, span: Span, text: String, quoted: bool) -> Result<(), Stop> {
        let is_key = self.wants_key();
        if let Some(c) = text.chars().find(|c| forbidden(*c)) {
            self.mistake(span, format!("the control character U+{:04X} is not allowed in text", u32::from(c)), None);
            return if is_key { self.lost_key(span) } else { self.rejected(span) };
        }
        if is_key {
            self.key(span, Some(text));
            return Ok(());
        }
        self.add(span, Kind::Scalar { text, quoted }).map(drop)
    }

    /// A key that cannot be kept, and its value with it.
    pub(super) fn lost_key(&mut self, span: Span) -> Result<(), Stop> {
        self.key(span, None);
        Ok(())
    }

    /// A value that cannot be kept: it holds its place, but nobody looks at it.
    pub(super) fn rejected(&mut self, span: Span) -> Result<(), Stop> {
        let id = self.add(span, Kind::Scalar { text: String::new(), quoted: false })?;
        self.tree.reject(id);
        Ok(())
    }

    /// Reports a mistake of the text itself, here in the tree.
    pub(super) fn mistake(&mut self, span: Span, message: impl Into<String>, help: impl Into<Option<String>>) {
        let path = self.open.last().map_or_else(String::new, |frame| self.tree.path(frame.id));
        self.findings.push(Spot { span, path }, message, help);
    }

    pub(super) fn finish(self) -> (Tree, Findings) {
        (self.tree, self.findings)
    }

    fn open(&mut self, span: Span, kind: Kind, keys: Option<Keys>) -> Result<(), Stop> {
        if self.open.len() >= DEPTH_MAX {
            self.mistake(span, format!("nested deeper than {DEPTH_MAX} levels"), None);
            return Err(Stop);
        }
        let id = self.add(span, kind)?;
        self.open.push(Frame { id, keys });
        Ok(())
    }

    fn key(&mut self, span: Span, key: Option<String>) {
        let Some(frame) = self.open.last_mut() else {
            return;
        };
        // A block mapping has no bracket of its own to draw: its first key stands for it.
        let node = self.tree.node_mut(frame.id);
        if node.span.is_empty() {
            node.span = span;
        }
        if let Some(keys) = &mut frame.keys {
            keys.pending = Some((key, span));
        }
    }

    fn add(&mut self, span: Span, kind: Kind) -> Result<NodeId, Stop> {
        if self.tree.len() >= NODES_MAX {
            self.mistake(span, format!("more than {NODES_MAX} values in one document"), None);
            return Err(Stop);
        }
        let Some(frame) = self.open.last_mut() else {
            return Ok(self.tree.push(span, kind, Tree::ROOT, 0));
        };
        let parent = frame.id;
        let position = match &self.tree.node(parent).kind {
            Kind::List(items) => items.len(),
            Kind::Map(entries) => entries.len(),
            Kind::Scalar { .. } => 0,
        };
        let id = self.tree.push(span, kind, parent, position);
        let pending = frame.keys.as_mut().and_then(|keys| keys.pending.take());
        match (&mut self.tree.node_mut(parent).kind, pending) {
            (Kind::List(items), _) => items.push(id),
            (Kind::Map(entries), Some((Some(key), key_span))) => {
                entries.push(Entry { key: key.clone(), key_span, value: id });
                self.refuse_double(id, key, key_span);
            }
            (Kind::Map(entries), Some((None, key_span))) => {
                entries.push(Entry { key: String::new(), key_span, value: id });
                self.tree.reject(id);
            }
            (Kind::Map(_), None) | (Kind::Scalar { .. }, _) => {}
        }
        Ok(id)
    }

    fn refuse_double(&mut self, id: NodeId, key: String, span: Span) {
        let Some(keys) = self.open.last_mut().and_then(|frame| frame.keys.as_mut()) else {
            return;
        };
        let name = super::mistake::shown(&key);
        let first = *keys.seen.entry(key).or_insert(span.start);
        if first != span.start {
            self.tree.reject(id);
            let help = format!("it is already given at {}:{}; keep one", first.line, first.column);
            let message = format!("{name} is written twice, first on line {}", first.line);
            self.findings.push(Spot { span, path: self.tree.path(id) }, message, help);
        }
    }
}

/// Control characters, except those that lay out a text of several lines.
pub(super) fn forbidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}
