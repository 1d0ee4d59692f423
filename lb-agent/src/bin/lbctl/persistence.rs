//! `lbctl persistence`: who is remembered to be where; kept in a file, and given back.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hyper::body::Bytes;
use lb_control::instance::Imported;
use lb_control::node::NodeClient;
use lb_control::server::BODY_BYTES_MAX;
use lb_core::persistence::address_of;
use lb_core::persistence::stream::{self, Part};
use serde::Serialize;
use serde_json::Value;

use crate::output::{self, Format};

/// Most bytes of an end that closes a stream.
const END_ROOM: usize = 64;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum PersistenceCommand {
    /// Show who is remembered to be where
    Show {
        /// Name or id of the load balancer
        name: String,
    },
    /// Write all tables of a load balancer to a file
    Save {
        /// Its name or id
        name: String,
        /// The file
        file: PathBuf,
    },
    /// Give tables in a file back to a load balancer; what it has learned since then stays
    Load {
        /// Its name or id
        name: String,
        /// The file
        file: PathBuf,
    },
}

/// Carries out a command.
pub(crate) async fn persistence(node: &NodeClient, command: PersistenceCommand, format: Format) -> anyhow::Result<()> {
    match command {
        PersistenceCommand::Show { name } => show(node, &name, format).await,
        PersistenceCommand::Save { name, file } => save(node, &name, &file).await,
        PersistenceCommand::Load { name, file } => load(node, &name, &file, format).await,
    }
}

/// One client.
#[derive(Serialize)]
struct Shown {
    pool: String,
    /// Its address; of a session the keyed hash.
    client: String,
    member: String,
    /// Milliseconds since it was last seen.
    age_ms: u64,
}

async fn show(node: &NodeClient, name: &str, format: Format) -> anyhow::Result<()> {
    let bytes = read(node, name).await?;
    let names = names(&node.document(name).await?);
    let name_of = |id: String| names.get(&id).cloned().unwrap_or(id);
    let mut shown = Vec::new();
    for part in stream::split(&bytes)? {
        let Part { label, entries } = stream::decode(part)?;
        shown.extend(entries.iter().map(|entry| Shown {
            pool: name_of(label.pool.to_string()),
            client: if label.by_address { address_of(&entry.key).to_string() } else { hex(&entry.key) },
            member: name_of(entry.member.to_string()),
            age_ms: entry.age_ms(),
        }));
    }
    shown.sort_by_key(|client| client.age_ms);
    output::value(format, &shown, |shown| match shown.as_slice() {
        [] => "nobody is remembered\n".to_owned(),
        shown => {
            let row = |s: &Shown| {
                vec![s.pool.clone(), s.client.clone(), s.member.clone(), format!("{:.1} s", s.age_ms as f64 / 1000.0)]
            };
            output::table(&["POOL", "CLIENT", "MEMBER", "LAST SEEN"], &shown.iter().map(row).collect::<Vec<_>>())
        }
    })
}

async fn save(node: &NodeClient, name: &str, file: &Path) -> anyhow::Result<()> {
    let bytes = read(node, name).await?;
    stream::split(&bytes)?;
    std::fs::write(file, &bytes).with_context(|| format!("cannot write {}", file.display()))
}

async fn load(node: &NodeClient, name: &str, file: &Path, format: Format) -> anyhow::Result<()> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let parts = stream::split(&bytes).with_context(|| format!("{} is not taken up", file.display()))?;
    let mut all = Imported::default();
    for parts in helpings(&parts) {
        let done = node.take_up(name, Bytes::from(stream::join(parts))).await?;
        all.entries += done.entries;
        all.skipped += done.skipped;
    }
    output::value(format, &all, |all| format!("{} clients are known, {} were skipped\n", all.entries, all.skipped))
}

/// As many parts at once as one request may carry.
fn helpings<'p>(parts: &'p [&'p [u8]]) -> Vec<&'p [&'p [u8]]> {
    let (mut helpings, mut from, mut len) = (Vec::new(), 0, END_ROOM);
    for (n, part) in parts.iter().enumerate() {
        if len + part.len() > BODY_BYTES_MAX && n > from {
            helpings.push(&parts[from..n]);
            (from, len) = (n, END_ROOM);
        }
        len += part.len();
    }
    helpings.push(&parts[from..]);
    helpings
}

async fn read(node: &NodeClient, name: &str) -> anyhow::Result<Vec<u8>> {
    let mut pieces = node.persistence(name).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.piece().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// What people call each object of a document that has an id and a name.
fn names(document: &Value) -> HashMap<String, String> {
    let mut names = HashMap::new();
    let mut open = vec![document];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => {
                if let (Some(Value::String(id)), Some(Value::String(name))) = (fields.get("id"), fields.get("name"))
                    && !name.is_empty()
                {
                    names.insert(id.clone(), name.clone());
                }
                open.extend(fields.values());
            }
            _ => {}
        }
    }
    names
}

fn hex(key: &[u8]) -> String {
    key.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_travel_in_requests_that_may_carry_them() {
        let part = vec![0u8; BODY_BYTES_MAX / 3];
        let parts = vec![part.as_slice(); 7];
        let sizes: Vec<usize> = helpings(&parts).iter().map(|helping| helping.len()).collect();
        assert_eq!(sizes, [2, 2, 2, 1]);
        assert_eq!(helpings(&[]).len(), 1, "that there is nothing is told, too");
    }
}
