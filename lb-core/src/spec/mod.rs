//! The first floor: what an operator wrote, with the place of every word.

use serde::{Deserialize, Serialize};

use crate::config::LoadBalancer;

/// One thing wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    /// Where in the tree: `loadbalancer.listeners[0].protocol_port`.
    pub path: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right, with a "did you mean" where one is near.
    pub help: Option<String>,
}

/// Why a document was refused: everything found in one pass, in the order of the text. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rendered}")]
pub struct Mistakes {
    /// In the order of the text.
    pub mistakes: Vec<Mistake>,
    /// All of them drawn with the lines they stand in: `file:line:column`, a caret, the help.
    pub rendered: String,
}

/// Reads and validates a document, YAML or JSON. `origin` names it in messages: a file's path, or `<request>`.
pub fn read(origin: &str, text: &str) -> Result<LoadBalancer, Mistakes> {
    let _ = (origin, text);
    unimplemented!()
}

/// JSON Schema (draft 2020-12) of the document, generated from the types of this floor.
pub fn json_schema() -> serde_json::Value {
    unimplemented!()
}
