//! Results in words for people (`HTTP 500, expected 200, 3 of 3, 2 ms`), and in HAProxy's short codes for its tools.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Bad, Good, Outcome, ProbeResult, Step, Tally};
use crate::config::monitor::{ExpectedBody, HealthMonitor, HttpProbe, Probe};

impl ProbeResult {
    /// The result in one line: what was heard, what was expected, how it counted, how long it took. `monitor` is
    /// the one that asked; without it nothing is said of what was expected.
    pub fn words(&self, monitor: Option<&HealthMonitor>, tally: Option<Tally>) -> String {
        let http = monitor.and_then(http_of);
        let mut words = match &self.outcome {
            Outcome::Passed(good) => good_words(*good),
            Outcome::Failed(bad) => bad_words(bad, monitor, http),
        };
        if let Some(Tally { in_a_row, of }) = tally {
            let _ = write!(words, ", {in_a_row} of {of}");
        }
        // How long a timeout took is what it says.
        if !matches!(self.outcome, Outcome::Failed(Bad::Timeout(_))) {
            let _ = write!(words, ", {} ms", self.took_us / 1000);
        }
        words
    }

    /// HAProxy's code for it (`check_status`), when asked by `probe`.
    pub fn haproxy_code(&self, probe: &Probe) -> &'static str {
        match &self.outcome {
            Outcome::Passed(Good::Echo | Good::Connected) => "L4OK",
            Outcome::Passed(Good::Tls) => "L6OK",
            Outcome::Passed(Good::Status(_) | Good::Greeting) => "L7OK",
            Outcome::Failed(bad) => bad_code(bad, probe),
        }
    }

    /// The number that goes with it (`check_code`): a status, or a database's error.
    pub fn code(&self) -> Option<u16> {
        match self.outcome {
            Outcome::Passed(Good::Status(status)) | Outcome::Failed(Bad::Status(status)) => Some(status),
            Outcome::Failed(Bad::Mysql(code, _)) => Some(code),
            _ => None,
        }
    }
}

fn http_of(monitor: &HealthMonitor) -> Option<&HttpProbe> {
    match &monitor.probe {
        Probe::Http(http) | Probe::Https(http, _) => Some(http),
        Probe::Ping | Probe::Tcp | Probe::TlsHello(_) | Probe::Mysql(_) => None,
    }
}

fn good_words(good: Good) -> String {
    match good {
        Good::Echo => "echo".to_owned(),
        Good::Connected => "connected".to_owned(),
        Good::Tls => "TLS handshake".to_owned(),
        Good::Status(status) => format!("HTTP {status}"),
        Good::Greeting => "greeting".to_owned(),
    }
}

fn bad_words(bad: &Bad, monitor: Option<&HealthMonitor>, http: Option<&HttpProbe>) -> String {
    match bad {
        Bad::Timeout(step) => match monitor {
            Some(monitor) => format!("no answer within {} ({})", seconds(monitor.timeout_ms), doing(*step)),
            None => format!("no answer in time ({})", doing(*step)),
        },
        Bad::Connect(errno) | Bad::Unreachable(errno) if is_errno(*errno) => errno_words(*errno),
        Bad::Connect(_) => "could not connect".to_owned(),
        Bad::Unreachable(icmp) => format!("unreachable (ICMP type {}, code {})", icmp >> 8, icmp & 0xff),
        Bad::Closed(step, Some(errno)) => format!("{} ({})", errno_words(*errno), doing(*step)),
        Bad::Closed(step, None) => format!("closed ({})", doing(*step)),
        Bad::Tls(why) => format!("TLS: {why}"),
        Bad::Malformed(why) => format!("not understood: {why}"),
        Bad::Status(status) => match http {
            Some(http) => format!("HTTP {status}, expected {}", http.expected_codes),
            None => format!("HTTP {status}"),
        },
        Bad::Body => match http.and_then(|http| http.expected_body.as_ref()) {
            Some(ExpectedBody::Text(text)) => format!("the body does not contain `{}`", brief(text)),
            Some(ExpectedBody::Regex(pattern)) => format!("the body does not match `{}`", brief(pattern)),
            None => "the body is not what is expected".to_owned(),
        },
        Bad::Mysql(code, why) => format!("MySQL error {code}: {why}"),
        Bad::Ours(errno) => format!("could not ask: {}", errno_words(*errno)),
    }
}

fn bad_code(bad: &Bad, probe: &Probe) -> &'static str {
    match bad {
        Bad::Ours(_) => "SOCKERR",
        Bad::Connect(_) | Bad::Unreachable(_) => "L4CON",
        // An echo has no other layer.
        Bad::Timeout(_) if *probe == Probe::Ping => "L4TOUT",
        Bad::Closed(..) | Bad::Malformed(_) if *probe == Probe::Ping => "L4CON",
        Bad::Timeout(step) => match step {
            Step::Resolve | Step::Connect | Step::ProxyHeader => "L4TOUT",
            Step::Tls => "L6TOUT",
            Step::Send | Step::Answer => "L7TOUT",
        },
        Bad::Closed(step, _) => match step {
            Step::Resolve | Step::Connect | Step::ProxyHeader => "L4CON",
            Step::Tls => "L6RSP",
            Step::Send | Step::Answer => "L7RSP",
        },
        Bad::Tls(_) => "L6RSP",
        Bad::Malformed(_) | Bad::Body => "L7RSP",
        Bad::Status(_) | Bad::Mysql(..) => "L7STS",
    }
}

fn doing(step: Step) -> &'static str {
    match step {
        Step::Resolve => "resolving its name",
        Step::Connect => "connecting",
        Step::ProxyHeader => "sending the PROXY header",
        Step::Tls => "TLS handshake",
        Step::Send => "sending the request",
        Step::Answer => "waiting for the answer",
    }
}

/// Errnos stay below 256; an ICMP error is `type << 8 | code` with a type from 1.
fn is_errno(number: i32) -> bool {
    (1..256).contains(&number)
}

/// The system's words for an errno, without its number and in lower case.
fn errno_words(errno: i32) -> String {
    let words = std::io::Error::from_raw_os_error(errno).to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn seconds(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{} s", Duration::from_millis(ms).as_secs_f64()) }
}

/// At most 40 characters on one line.
fn brief(text: &str) -> String {
    let mut brief: String = text.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(40).is_some() {
        brief.push('…');
    }
    brief
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::tests::monitor;

    fn said(outcome: Outcome, keys: &str, tally: Option<Tally>) -> String {
        ProbeResult { outcome, took_us: 2_400 }.words(Some(&monitor(keys)), tally)
    }

    #[test]
    fn results_are_words() {
        let http = "type: HTTP, delay: 5, timeout: 5, max_retries: 3, expected_codes: '200,300-302'";
        let body = "type: HTTP, delay: 5, timeout: 0.5, max_retries: 3, expected_body: 'all is well'";
        let three = Some(Tally { in_a_row: 3, of: 3 });
        for (outcome, keys, tally, words) in [
            (Outcome::Passed(Good::Status(200)), http, None, "HTTP 200, 2 ms"),
            (Outcome::Failed(Bad::Status(500)), http, three, "HTTP 500, expected 200,300-302, 3 of 3, 2 ms"),
            (Outcome::Failed(Bad::Connect(111)), http, three, "connection refused, 3 of 3, 2 ms"),
            (Outcome::Failed(Bad::Connect(113)), http, None, "no route to host, 2 ms"),
            (Outcome::Failed(Bad::Timeout(Step::Connect)), http, None, "no answer within 5 s (connecting)"),
            (
                Outcome::Failed(Bad::Timeout(Step::Answer)),
                body,
                three,
                "no answer within 500 ms (waiting for the answer), 3 of 3",
            ),
            (Outcome::Failed(Bad::Body), body, None, "the body does not contain `all is well`, 2 ms"),
            (Outcome::Failed(Bad::Closed(Step::Answer, None)), http, None, "closed (waiting for the answer), 2 ms"),
            (
                Outcome::Failed(Bad::Closed(Step::Tls, Some(104))),
                http,
                None,
                "connection reset by peer (TLS handshake), 2 ms",
            ),
            (Outcome::Failed(Bad::Unreachable(3 << 8 | 1)), http, None, "unreachable (ICMP type 3, code 1), 2 ms"),
            (Outcome::Failed(Bad::Unreachable(101)), http, None, "network is unreachable, 2 ms"),
            (Outcome::Failed(Bad::Ours(24)), http, None, "could not ask: too many open files, 2 ms"),
            (
                Outcome::Failed(Bad::Mysql(1045, "access denied".into())),
                http,
                None,
                "MySQL error 1045: access denied, 2 ms",
            ),
        ] {
            assert_eq!(said(outcome, keys, tally), words);
        }
    }

    #[test]
    fn haproxys_codes_are_derived() {
        let code = |outcome: Outcome, probe: &Probe| ProbeResult { outcome, took_us: 0 }.haproxy_code(probe);
        let (ping, tcp) = (&Probe::Ping, &Probe::Tcp);
        for (outcome, probe, expected) in [
            (Outcome::Passed(Good::Connected), tcp, "L4OK"),
            (Outcome::Passed(Good::Echo), ping, "L4OK"),
            (Outcome::Passed(Good::Tls), tcp, "L6OK"),
            (Outcome::Passed(Good::Status(200)), tcp, "L7OK"),
            (Outcome::Failed(Bad::Connect(111)), tcp, "L4CON"),
            (Outcome::Failed(Bad::Timeout(Step::Connect)), tcp, "L4TOUT"),
            (Outcome::Failed(Bad::Timeout(Step::Answer)), ping, "L4TOUT"),
            (Outcome::Failed(Bad::Timeout(Step::Tls)), tcp, "L6TOUT"),
            (Outcome::Failed(Bad::Timeout(Step::Answer)), tcp, "L7TOUT"),
            (Outcome::Failed(Bad::Tls("expired".into())), tcp, "L6RSP"),
            (Outcome::Failed(Bad::Closed(Step::Answer, None)), tcp, "L7RSP"),
            (Outcome::Failed(Bad::Malformed("junk".into())), tcp, "L7RSP"),
            (Outcome::Failed(Bad::Body), tcp, "L7RSP"),
            (Outcome::Failed(Bad::Status(500)), tcp, "L7STS"),
            (Outcome::Failed(Bad::Ours(24)), tcp, "SOCKERR"),
        ] {
            assert_eq!(code(outcome.clone(), probe), expected, "{outcome:?}");
        }
        assert_eq!(ProbeResult { outcome: Outcome::Failed(Bad::Status(500)), took_us: 0 }.code(), Some(500));
        assert_eq!(ProbeResult { outcome: Outcome::Failed(Bad::Body), took_us: 0 }.code(), None);
    }
}
