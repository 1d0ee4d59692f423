//! What Octavia's documents may ask for and this version does not do: refused by name, so that nobody believes
//! it was done. A row leaves this table when its key enters the types.

use super::tree::{Kind, NodeId, Tree};

/// True if `key` of that type is known, and not built yet.
pub(super) fn is_key(def: &str, key: &str) -> bool {
    KEYS.iter().any(|(d, keys)| *d == def && keys.contains(&key))
}

/// True if `word` is a known value of that type, and not built yet.
pub(super) fn is_word(def: &str, word: &str) -> bool {
    WORDS.iter().any(|(d, words)| *d == def && words.contains(&word))
}

/// The keys of that type that are not built yet, for "did you mean".
pub(super) fn keys(def: &str) -> impl Iterator<Item = &str> {
    KEYS.iter().filter(move |(d, _)| *d == def).flat_map(|(_, keys)| keys.iter().copied())
}

/// True if the value asks for nothing: null or an empty list. Clients that write every key Octavia has are not
/// refused for what they do not use.
pub(super) fn asks_for_nothing(tree: &Tree, value: NodeId) -> bool {
    match &tree.node(value).kind {
        Kind::List(items) => items.is_empty(),
        Kind::Map(_) => false,
        Kind::Scalar { .. } => tree.is_null(value),
    }
}

pub(super) const MESSAGE: &str = "is not supported by this version yet";

const KEYS: &[(&str, &[&str])] =
    &[("LoadBalancer", &["additional_vips", "vip_qos_policy_id", "vip_sg_ids", "flavor_id", "availability_zone"])];

const WORDS: &[(&str, &[&str])] = &[
    ("PoolProtocol", &["UDP", "SCTP"]),
    ("ListenerProtocol", &["UDP", "SCTP", "PROMETHEUS"]),
    ("MonitorType", &["UDP-CONNECT", "SCTP"]),
];

#[cfg(test)]
pub(super) fn defs() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(def, _)| *def).chain(WORDS.iter().map(|(def, _)| *def))
}
