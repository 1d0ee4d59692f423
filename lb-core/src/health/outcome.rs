//! What one question to a member came to: the words that those who ask and those who judge share.

use serde::{Deserialize, Serialize};

/// One question, asked and ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// What was heard.
    pub outcome: Outcome,
    /// From the first step to the end, in microseconds.
    pub took_us: u32,
}

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// What the monitor asks for.
    Passed(Good),
    /// Anything else.
    Failed(Bad),
}

/// How a member passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Good {
    /// An ICMP echo came back.
    Echo,
    /// The connection was made.
    Connected,
    /// The TLS handshake was completed.
    Tls,
    /// An expected status (with the expected body, if one is).
    Status(u16),
    /// A database's greeting, or its word that the login is fine.
    Greeting,
}

/// Where the time ran out or the peer left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Finding the address of a name.
    Resolve,
    /// Making the connection.
    Connect,
    /// Sending the PROXY header.
    ProxyHeader,
    /// The TLS handshake.
    Tls,
    /// Sending the question.
    Send,
    /// Waiting for the answer or reading it.
    Answer,
}

/// How a member failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bad {
    /// Nothing was heard within the timeout, in this step.
    Timeout(Step),
    /// The connection could not be made: errno.
    Connect(i32),
    /// Closed or reset in this step; errno if there was one.
    Closed(Step, Option<i32>),
    /// TLS failed: why, in at most 200 bytes of words.
    Tls(Box<str>),
    /// The answer is not the protocol: why, in at most 200 bytes of words.
    Malformed(Box<str>),
    /// A status that is not expected.
    Status(u16),
    /// The body does not contain what is expected within the bytes looked at.
    Body,
    /// MySQL said no: its code, and its words, at most 200 bytes.
    Mysql(u16, Box<str>),
    /// An ICMP error instead of an echo (`type << 8 | code`), or errno when sending.
    Unreachable(i32),
    /// We could not ask: no descriptor, no permission (errno). Never counts against the member.
    Ours(i32),
}
