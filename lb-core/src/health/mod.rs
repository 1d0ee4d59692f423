//! What an answer of a member means: who is up, since how many answers, and when it is asked again.
//!
//! Rules only. Whoever asks (`lb-health`) hands in what was heard and what time it is.

pub mod outcome;

pub use outcome::{Bad, Good, Outcome, ProbeResult, Step};
