//! What is told about the traffic: one line for each request or connection, and figures.
//!
//! Workers only note records; a thread of its own formats and writes them, so a slow or blocked sink costs
//! lines (which are counted), never traffic.

pub mod format;
pub mod queue;
pub mod record;
pub mod sink;
pub mod stats;
pub mod writer;
