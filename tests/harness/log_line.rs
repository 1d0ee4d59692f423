//! Access log lines with what changes from run to run masked, so that two programs' lines can be compared.

/// An `httplog` or `tcplog` line taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `front back/m1`.
    pub names: String,
    /// The timers: `T` for a time that was reached, `-1` for one that was not.
    pub timers: String,
    /// HTTP: the status. TCP: empty.
    pub status: String,
    /// Bytes to the client.
    pub bytes: String,
    /// Captured cookies (HTTP) and the termination state.
    pub flags: String,
    /// Connection counts and retries.
    pub counts: String,
    /// Queue positions.
    pub queues: String,
    /// HTTP: the request in quotes.
    pub request: String,
}

impl LogLine {
    /// Reads a line; says which part is not as HAProxy writes it.
    pub fn parse(line: &str) -> Result<Self, String> {
        let (front, request) = match line.split_once('"') {
            Some((front, rest)) => (front.trim_end(), format!("\"{rest}")),
            None => (line, String::new()),
        };
        let words: Vec<&str> = front.split(' ').collect();
        let fail = |what: &str| Err(format!("{what} in log line {line:?}"));
        let http = !request.is_empty();
        if words.len() != if http { 12 } else { 9 } {
            return fail("wrong number of words");
        }
        if words[0]
            .rsplit_once(':')
            .is_none_or(|(ip, port)| ip.parse::<std::net::IpAddr>().is_err() || port.parse::<u16>().is_err())
        {
            return fail("no client address");
        }
        if !is_date(words[1]) {
            return fail("no date");
        }
        let timers: Vec<&str> = words[4].split('/').collect();
        if timers.len() != if http { 5 } else { 3 } || timers.iter().any(|t| t.parse::<i64>().is_err()) {
            return fail("wrong timers");
        }
        let masked: Vec<&str> = timers.iter().map(|t| if *t == "-1" { "-1" } else { "T" }).collect();
        let rest = &words[5..];
        let (status, rest) = if http { (rest[0], &rest[1..]) } else { ("", rest) };
        let (bytes, rest) = (rest[0], &rest[1..]);
        let (flags, rest) = if http { (rest[..3].join(" "), &rest[3..]) } else { (rest[0].to_owned(), &rest[1..]) };
        Ok(Self {
            names: format!("{} {}", words[2], words[3]),
            timers: masked.join("/"),
            status: status.to_owned(),
            bytes: bytes.to_owned(),
            flags,
            counts: rest[0].to_owned(),
            queues: rest[1].to_owned(),
            request,
        })
    }

    /// The termination state: `--`, `SH--`, … (HTTP: four letters).
    pub fn termination(&self) -> &str {
        self.flags.rsplit(' ').next().unwrap_or_default()
    }
}

/// `[22/Nov/2026:16:39:34.123]`.
fn is_date(word: &str) -> bool {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let bytes = shape.as_bytes();
    bytes.len() == 26 && shape.starts_with("[99/") && shape.ends_with("/9999:99:99:99.999]")
}
