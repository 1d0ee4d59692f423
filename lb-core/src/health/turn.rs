//! A member's state turned: which way, and who or what turned it.

use serde::{Deserialize, Serialize};

use super::{AgentHealth, Change, ProbeResult, Tally};
use crate::config::monitor::HealthMonitor;
use crate::id::MonitorId;

/// A member's state turned, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Which way.
    pub change: Change,
    /// What turned it.
    pub cause: Cause,
}

/// What turned a member's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An answer to a monitor.
    Probe {
        /// Whose question.
        monitor: MonitorId,
        /// What was heard.
        result: ProbeResult,
        /// How it counted.
        tally: Option<Tally>,
    },
    /// So many failures of live traffic in a row.
    Traffic {
        /// How many.
        failures: u32,
    },
    /// A word of its agent.
    Agent {
        /// The word.
        health: AgentHealth,
        /// Its reason; may be empty.
        reason: Box<str>,
    },
    /// Its name leads nowhere.
    Name {
        /// Why, in words.
        fault: Box<str>,
    },
    /// Another document: who said no has no say any more.
    Document,
    /// It left maintenance, and what was known of it is forgotten.
    Maintenance,
}

impl Cause {
    /// Why a member's state turned, in one line. `monitors` are its pool's; with several the one that asked is named.
    pub fn words(&self, monitors: &[HealthMonitor]) -> String {
        match self {
            Self::Probe { monitor, result, tally } => {
                let asked = monitors.iter().find(|m| m.id == *monitor);
                let words = result.words(asked, *tally);
                match asked {
                    Some(asked) if monitors.len() > 1 => format!("{}: {words}", asked.label()),
                    _ => words,
                }
            }
            Self::Traffic { failures } => format!("{failures} failures of live traffic in a row"),
            Self::Agent { health, reason } => {
                let word = match health {
                    AgentHealth::Up => "up",
                    AgentHealth::Down => "down",
                    AgentHealth::Failed => "failed",
                    AgentHealth::Stopped => "stopped",
                };
                if reason.is_empty() {
                    format!("its agent says {word}")
                } else {
                    format!("its agent says {word}: {reason}")
                }
            }
            Self::Name { fault } => fault.to_string(),
            Self::Document => "another document".to_owned(),
            Self::Maintenance => "it left maintenance".to_owned(),
        }
    }
}
