//! What may occur once: ids in the document, ports, names. Each remembers the line of the first.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;

use uuid::Uuid;

use super::{Border, NodeId};
use crate::spec::mistake::shown;

#[derive(Default)]
pub(super) struct Unique {
    pub(super) listener_ids: Seen<Uuid>,
    pub(super) listener_names: Seen<String>,
    pub(super) listener_ports: Seen<u16>,
    pub(super) pool_ids: Seen<Uuid>,
    pub(super) pool_names: Seen<String>,
    pub(super) member_ids: Seen<Uuid>,
    /// Of the pool being read: names of members are its own.
    pub(super) member_names: Seen<String>,
    pub(super) monitor_ids: Seen<Uuid>,
    /// Of the pool being read.
    pub(super) monitor_names: Seen<String>,
    pub(super) policy_ids: Seen<Uuid>,
    pub(super) rule_ids: Seen<Uuid>,
    /// The same as `regexes` for rules of policies; true where case does not matter.
    pub(super) l7_regexes: HashSet<(String, bool)>,
    /// Regular expressions that were compiled or refused: none is compiled twice.
    pub(super) regexes: HashSet<String>,
}

/// Values with the line they were first seen on.
pub(super) struct Seen<K>(HashMap<K, usize>);

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Seen<K> {
    /// The line where this value was before; `None` and remembered if nowhere.
    pub(super) fn before(&mut self, value: K, line: usize) -> Option<usize> {
        match self.0.entry(value) {
            std::collections::hash_map::Entry::Occupied(entry) => Some(*entry.get()),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(line);
                None
            }
        }
    }
}

/// An object whose id must be its own.
pub(super) struct Identity<'n> {
    /// `listener`, `pool`, `member`, `health monitor`.
    pub(super) kind: &'n str,
    pub(super) at: NodeId,
    pub(super) id: Uuid,
    /// The document gives the id; otherwise it was derived.
    pub(super) explicit: bool,
    /// What the id is derived from is doubled, and that has been reported.
    pub(super) doubled: bool,
}

impl Border<'_> {
    /// Reports a name that another object of the kind has. True if it did.
    pub(super) fn doubled_name(
        &mut self,
        kind: &str,
        at: NodeId,
        name: &str,
        seen: impl FnOnce(&mut Self) -> &mut Seen<String>,
    ) -> bool {
        let line = self.tree.spot_of(at, "name").line();
        let first = if name.is_empty() { None } else { seen(self).before(name.to_owned(), line) };
        let Some(first) = first else { return false };
        let message = format!("the name {} is taken by the {kind} on line {first}", shown(name));
        let help = format!("every {kind} needs a name of its own, or none");
        self.mistake(self.tree.spot_of(at, "name"), message, help);
        true
    }

    /// Reports an id that another object of the kind has. True if it did, or if it need not: whatever is derived
    /// from this id is then doubled as well, which is no news.
    pub(super) fn doubled_id(
        &mut self,
        identity: &Identity<'_>,
        seen: impl FnOnce(&mut Self) -> &mut Seen<Uuid>,
    ) -> bool {
        let Identity { kind, at, id, explicit, doubled } = *identity;
        let spot = if explicit { self.tree.spot_of(at, "id") } else { self.tree.spot(at) };
        let Some(line) = seen(self).before(id, spot.line()) else { return doubled };
        if explicit {
            let message = format!("the id {id} is taken by the {kind} on line {line}");
            self.mistake(spot, message, "every id names one object; leave it out to have one made".to_owned());
        } else if !doubled {
            let message = format!("the id derived for this {kind} is that of the {kind} on line {line}");
            self.mistake(spot, message, "give one of them another name, or an id".to_owned());
        }
        true
    }

    /// Reports a value that must be its own, in words like "port 80".
    pub(super) fn doubled_value(&mut self, at: NodeId, key: &str, what: impl Display, first: usize, help: &str) {
        let message = format!("{what} is taken by line {first}");
        self.mistake(self.tree.spot_of(at, key), message, help.to_owned());
    }
}
