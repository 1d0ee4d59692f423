//! A pool's `retry` crossing the border.

use super::{Border, types};
use crate::config::PoolProtocol;
use crate::config::retry::{Retry, RetryOn};

impl Border<'_> {
    pub(super) fn retry(&mut self, written: Option<types::Retry>, protocol: Option<PoolProtocol>) -> Option<Retry> {
        let written = written?;
        let relayed = protocol.filter(|p| matches!(p, PoolProtocol::Tcp | PoolProtocol::Https));
        let mut on: Vec<RetryOn> = match &written.on {
            Some(causes) => causes.iter().map(cause).collect(),
            None if relayed.is_some() => vec![RetryOn::ConnectFailure],
            None => vec![RetryOn::ConnectFailure, RetryOn::EmptyResponse],
        };
        if let (Some(protocol), true) = (relayed, on.iter().any(|cause| *cause != RetryOn::ConnectFailure)) {
            let message = format!("answers of a pool of protocol {protocol} are not read");
            self.mistake(self.tree.spot_of(written.at, "on"), message, "only `CONNECT_FAILURE`".to_owned());
        }
        on.sort_unstable();
        on.dedup();
        Some(Retry {
            on,
            attempts: written.attempts.unwrap_or(ATTEMPTS),
            budget_percent: written.budget_percent.unwrap_or(BUDGET_PERCENT),
        })
    }
}

fn cause(written: &types::RetryOn) -> RetryOn {
    match written {
        types::RetryOn::ConnectFailure => RetryOn::ConnectFailure,
        types::RetryOn::EmptyResponse => RetryOn::EmptyResponse,
        types::RetryOn::Status502 => RetryOn::Status502,
        types::RetryOn::Status503 => RetryOn::Status503,
        types::RetryOn::Status504 => RetryOn::Status504,
        types::RetryOn::ResponseTimeout => RetryOn::ResponseTimeout,
    }
}

/// HAProxy's `retries`, as Octavia sets it.
const ATTEMPTS: u8 = 3;
const BUDGET_PERCENT: u8 = 20;
