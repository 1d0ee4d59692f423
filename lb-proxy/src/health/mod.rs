//! Minding the health of members, on the control thread: asks them when they are due, has the answers judged by
//! `lb_core::health`, and tells workers by the words they read anyway: a member's state and its share.
//!
//! Nothing of this is on the walk. A worker's only part is to say when live traffic makes a member suspect.

mod alarm;
pub mod minder;
mod network;
mod tell;
pub mod timeline;
pub mod view;
mod ward;
mod words;

pub use minder::{Minder, mind};
pub use timeline::Timeline;
