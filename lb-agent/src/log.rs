//! The agent's own log: plain lines on standard error, one for each thing that happened.
//!
//! `2026-11-22T16:44:27.123Z WARN  [web] the data plane (pid 7) was killed by SIGKILL; starting another`

use std::fmt::Display;
use std::io::Write;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The course of things.
    Info,
    /// Went wrong, and is being put right.
    Warn,
    /// Went wrong, and somebody should look.
    Error,
}

/// The course of things. `about`: a load balancer's label, or `agent`.
pub fn info(about: impl Display, what: impl Display) {
    line(Level::Info, &about, &what);
}

/// Went wrong, and is being put right.
pub fn warn(about: impl Display, what: impl Display) {
    line(Level::Warn, &about, &what);
}

/// Went wrong, and somebody should look.
pub fn error(about: impl Display, what: impl Display) {
    line(Level::Error, &about, &what);
}

fn line(level: Level, about: &dyn Display, what: &dyn Display) {
    let level = match level {
        Level::Info => "INFO ",
        Level::Warn => "WARN ",
        Level::Error => "ERROR",
    };
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ");
    // One write for one line, so that lines of several processes do not mix; nobody to tell when it fails.
    let text = format!("{now} {level} [{about}] {what}\n");
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
