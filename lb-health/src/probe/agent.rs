//! HAProxy's `agent-check`: a port of the member that answers with one line about itself. The line is handed over as it
//! came; what it means is `lb_core`'s.

use std::time::Duration;

use lb_core::config::monitor::AgentCheck;
use lb_core::health::{Bad, Step};
use tokio::time::{Instant, timeout_at};

use crate::prober::Target;
use crate::wire::{Wire, connect};
use crate::words::words;

/// Longest line of an agent, in bytes.
pub const LINE_MAX: usize = 1024;

/// Asks agents what one agent check says.
#[derive(Debug)]
pub struct AgentProber {
    send: Box<[u8]>,
    timeout: Duration,
}

impl AgentProber {
    /// Compiles `check`. Its port is part of the target.
    pub fn new(check: &AgentCheck) -> Self {
        Self { send: check.send.as_bytes().into(), timeout: Duration::from_millis(check.timeout_ms) }
    }

    /// The agent's line, without its end. Ends within the check's timeout; may be dropped at any time.
    pub async fn ask(&self, target: Target) -> Result<Box<[u8]>, Bad> {
        let mut step = Step::Connect;
        let ended = timeout_at(Instant::now() + self.timeout, self.put(&target, &mut step)).await;
        ended.unwrap_or(Err(Bad::Timeout(step)))
    }

    async fn put(&self, target: &Target, step: &mut Step) -> Result<Box<[u8]>, Bad> {
        let mut wire = Wire::Plain(connect(target, step).await?);
        if !self.send.is_empty() {
            wire.send(&self.send, step, Step::Send).await?;
        }
        let mut said = Vec::new();
        loop {
            let ended = wire.read(&mut said, step).await? == 0;
            match line(&said, ended) {
                Ok(Some(line)) => return Ok(line.into()),
                Ok(None) if ended => return Err(Bad::Closed(Step::Answer, None)),
                Ok(None) => {}
                Err(why) => return Err(Bad::Malformed(why)),
            }
        }
    }
}

/// The first line of what an agent said, as HAProxy takes it: up to CR or LF, or up to the end of the connection.
/// `None`: it is not complete, or nothing was said.
pub fn line(said: &[u8], ended: bool) -> Result<Option<&[u8]>, Box<str>> {
    match memchr::memchr2(b'\r', b'\n', said) {
        Some(end) if end <= LINE_MAX => Ok(Some(&said[..end])),
        _ if said.len() > LINE_MAX => Err(words(&format!("a line of more than {LINE_MAX} bytes"))),
        _ if ended && !said.is_empty() => Ok(Some(said)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_cr_lf_or_the_connection() {
        assert_eq!(line(b"up 50%\n", false), Ok(Some(&b"up 50%"[..])));
        assert_eq!(line(b"drain\r\nmore", false), Ok(Some(&b"drain"[..])));
        assert_eq!(line(b"drain", false), Ok(None));
        assert_eq!(line(b"drain", true), Ok(Some(&b"drain"[..])));
        assert_eq!(line(b"", true), Ok(None));
        assert_eq!(line(&[b'x'; LINE_MAX], false), Ok(None));
        assert!(line(&[b'x'; LINE_MAX + 1], false).is_err());
        let mut long = vec![b'x'; LINE_MAX + 1];
        long.push(b'\n');
        assert!(line(&long, false).is_err(), "however it is cut");
    }
}
