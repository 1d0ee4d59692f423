//! What a pool hashes, written back: only the keys that its algorithm and its table have.

use serde_json::{Map, Value, json};

use super::{object, put};
use crate::config::{HashKey, HashTable, Hashing};

pub(super) fn hashing(hashing: &Hashing) -> Value {
    let mut body = object(json!({ "table": hashing.table }));
    put(&mut body, "balance_factor", hashing.balance_factor);
    let stirs = matches!(hashing.table, HashTable::Map | HashTable::Consistent);
    put(&mut body, "avalanche", stirs.then_some(hashing.avalanche));
    let is_text = !matches!(hashing.key, HashKey::Source | HashKey::SourcePort);
    put(&mut body, "function", is_text.then_some(hashing.function));
    key(&mut body, &hashing.key);
    Value::Object(body)
}

fn key(body: &mut Map<String, Value>, key: &HashKey) {
    match key {
        HashKey::Source | HashKey::SourcePort => {}
        HashKey::Uri { length, depth, whole, path_only } => {
            put(body, "length", *length);
            put(body, "depth", *depth);
            put(body, "whole", Some(whole));
            put(body, "path_only", Some(path_only));
        }
        HashKey::UrlParam { parameter } => put(body, "parameter", Some(parameter)),
        HashKey::Header { header, domain_only } => {
            put(body, "header", Some(header));
            put(body, "domain_only", Some(domain_only));
        }
        HashKey::RdpCookie { cookie } => put(body, "cookie", Some(cookie)),
    }
}
