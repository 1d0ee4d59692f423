//! What an answer of a member means: who is up, since how many answers, and when it is asked again.
//!
//! Rules only. Whoever asks (`lb-health`) hands in what was heard and what time it is.

pub mod agent_line;
pub mod axes;
pub mod judgement;
pub mod machine;
pub mod operating_status;
pub mod outcome;
pub mod schedule;
pub mod slow_start;
pub mod turn;
pub mod witness;
mod words;

#[cfg(test)]
mod tests;

pub use agent_line::{AgentAdmin, AgentFault, AgentHealth, AgentLine, AgentWeight};
pub use axes::{Administrative, Operational};
pub use judgement::{Agent, Judgement, Last, Watch};
pub use machine::{Change, Machine, Pace, Rules, Standing, Tally};
pub use operating_status::OperatingStatus;
pub use outcome::{Bad, Good, Outcome, ProbeResult, Step};
pub use schedule::{Begin, Schedule, Spread};
pub use turn::{Cause, Turn};
pub use witness::Witness;
