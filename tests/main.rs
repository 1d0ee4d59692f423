//! Weir's promises, one file each, proven on real processes over loopback and namespaces made for the purpose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod agent;
mod balance;
mod balance_hash;
mod broken_documents;
mod compat;
mod events;
mod explain;
mod faults;
mod health;
mod http2;
mod l7;
mod limits;
mod logs;
mod mended;
mod mended_changes;
mod names;
mod parked;
mod persistence;
mod probes;
mod process;
mod proxy_protocol;
mod queue;
mod reload;
mod retries;
mod sni;
mod strict;
mod tidy;
mod tls;
mod upgrade;
mod words;
