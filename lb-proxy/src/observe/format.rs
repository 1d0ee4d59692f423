//! Lines as people and tools know them: HAProxy's `tcplog` and `httplog`, and JSON with a reason in words.
//!
//! In HTTP lines `%B` counts as HAProxy does: 20, the three words of the status line, names and values of the
//! header fields (without `Connection`), 1, and the body. JSON carries the bytes of the wire instead.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lb_core::config::LogFormat;
use serde::Serialize;

use super::record::{Record, Words, endings};

/// Appends one line (without its end) to `out`. `began` is the wall-clock time of the record's beginning.
pub fn line(
    format: LogFormat,
    record: &Record,
    words: Words<'_>,
    began: Timestamp,
    clock: &mut WallClock,
    out: &mut Vec<u8>,
) {
    let mut line = Line { out };
    match format {
        LogFormat::Tcplog => tcplog(record, words, clock.text(began), &mut line),
        LogFormat::Httplog => httplog(record, words, clock.text(began), &mut line),
        LogFormat::Json => json_line(record, words, began, line.out),
    }
}

/// Local time in words, worked out once for each second.
#[derive(Debug, Default)]
pub struct WallClock {
    second: Option<i64>,
    /// `22/Nov/2026:19:12:46.`, and behind it room for milliseconds.
    text: Vec<u8>,
}

impl WallClock {
    /// `22/Nov/2026:19:12:46.123`
    fn text(&mut self, at: Timestamp) -> &[u8] {
        if self.second != Some(at.as_second()) {
            self.second = Some(at.as_second());
            let local = at.to_zoned(TimeZone::system());
            self.text.clear();
            // Writing to a Vec cannot fail.
            let _ = write!(
                self.text,
                "{:02}/{}/{:04}:{:02}:{:02}:{:02}.000",
                local.day(),
                MONTHS[(local.month() - 1) as usize],
                local.year(),
                local.hour(),
                local.minute(),
                local.second(),
            );
        }
        let millis = at.subsec_millisecond().unsigned_abs();
        let digits = self.text.len() - 3;
        for (place, divisor) in [(0, 100), (1, 10), (2, 1)] {
            self.text[digits + place] = b'0' + (millis / divisor % 10) as u8;
        }
        &self.text
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Words and numbers put one behind the other: the machinery of `write!` costs more than all else in a line.
struct Line<'o> {
    out: &'o mut Vec<u8>,
}

impl Line<'_> {
    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    fn number(&mut self, number: impl itoa::Integer) -> &mut Self {
        self.out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self
    }

    fn client(&mut self, client: SocketAddr) -> &mut Self {
        match client.ip().to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, d] = ip.octets();
                self.number(a).text(".").number(b).text(".").number(c).text(".").number(d);
            }
            IpAddr::V6(ip) => {
                let _ = write!(self.out, "{ip}");
            }
        }
        self.text(":").number(client.port())
    }

    fn head(&mut self, record: &Record, words: Words<'_>, began: &[u8]) -> &mut Self {
        self.client(record.client).text(" [").bytes(began).text("] ").text(words.listener).text(" ");
        self.text(words.pool.unwrap_or(words.listener)).text("/").text(words.member.unwrap_or("<NOSRV>")).text(" ")
    }

    fn tail(&mut self, record: &Record) -> &mut Self {
        let load = record.load;
        self.number(load.process).text("/").number(load.listener).text("/").number(load.pool).text("/");
        self.number(load.member).text(if record.redispatched { "/+" } else { "/" });
        self.number(record.retries).text(" ");
        let queued = record.queued;
        // Hardly any line has another.
        if queued.stood {
            self.number(queued.place_member).text("/").number(queued.place_pool)
        } else {
            self.text("0/0")
        }
    }

    /// HAProxy's way with bytes that would end the quotes or the line: `#` and two hex digits.
    fn quoted(&mut self, line: &[u8]) -> &mut Self {
        let plain = |byte: &u8| (byte.is_ascii_graphic() && *byte != b'"' && *byte != b'#') || *byte == b' ';
        if line.is_empty() {
            return self.text("\"<BADREQ>\"");
        }
        self.text("\"");
        if line.iter().all(plain) {
            return self.bytes(line).text("\"");
        }
        for byte in line {
            if plain(byte) {
                self.out.push(*byte);
            } else {
                let _ = write!(self.out, "#{byte:02X}");
            }
        }
        self.text("\"")
    }
}

fn flags(record: &Record) -> &str {
    std::str::from_utf8(&record.ending.flags).unwrap_or("--")
}

/// `%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq`
fn tcplog(record: &Record, words: Words<'_>, began: &[u8], line: &mut Line<'_>) {
    let times = record.times;
    line.head(record, words, began).number(times.queue).text("/").number(times.connect).text("/");
    line.number(times.total).text(" ").number(record.bytes_out).text(" ").text(flags(record)).text(" ").tail(record);
}

/// `%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %{+Q}r`
fn httplog(record: &Record, words: Words<'_>, began: &[u8], line: &mut Line<'_>) {
    let times = record.times;
    let status = if record.status == 0 { -1 } else { i32::from(record.status) };
    line.head(record, words, began).number(times.request).text("/").number(times.queue).text("/");
    line.number(times.connect).text("/").number(times.response).text("/").number(times.total).text(" ");
    line.number(status).text(" ").number(record.bytes_counted).text(" - - ").text(flags(record));
    line.bytes(&record.noted.flags).text(" ");
    line.tail(record).text(" ").quoted(words.line);
}

/// One line of JSON.
#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    client: SocketAddr,
    listener: &'a str,
    pool: Option<&'a str>,
    member: Option<&'a str>,
    policy: Option<&'a str>,
    method: Option<&'a str>,
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_server_name: Option<&'static str>,
    status: Option<u16>,
    reason: Cow<'a, str>,
    flags: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    persistence: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<&'a str>,
    bytes_in: u64,
    bytes_out: u64,
    request_ms: Option<i32>,
    queue_ms: Option<i32>,
    queue_place: Option<u32>,
    connect_ms: Option<i32>,
    response_ms: Option<i32>,
    total_ms: i32,
    retries: u32,
    redispatched: bool,
}

/// Its place when it queued; `None`: it never did.
fn queue_place(record: &Record) -> Option<u32> {
    let place = record.queued.place_member.saturating_add(record.queued.place_pool);
    (place > 0).then_some(place)
}

/// Why it ended. What came to grief in a queue names the limit that was met, and whose; a policy that ended it is named.
fn reason<'a>(record: &Record, words: Words<'_>) -> Cow<'a, str> {
    let (ending, limit) = (record.ending, record.queued.limit);
    let pool = words.pool.unwrap_or_default();
    if let Some(policy) = words.policy.filter(|_| ending == endings::REJECTED || ending == endings::REDIRECTED) {
        return format!("{} {policy}", ending.reason).into();
    }
    match (ending, words.member) {
        (endings::QUEUE_TIMEOUT, Some(member)) => {
            format!("{}: member {member} of pool {pool} takes {limit} at once", ending.reason).into()
        }
        (endings::QUEUE_TIMEOUT, None) => {
            format!("{}: all members of pool {pool} together take {limit} at once", ending.reason).into()
        }
        (endings::QUEUE_FULL, _) => format!("{}: pool {pool} lets {limit} wait", ending.reason).into(),
        _ => ending.reason.into(),
    }
}

fn json_line(record: &Record, words: Words<'_>, began: Timestamp, out: &mut Vec<u8>) {
    let millis = |ms: i32| (ms >= 0).then_some(ms);
    let times = record.times;
    let line = String::from_utf8_lossy(words.line);
    let mut request = line.split(' ').filter(|_| record.http);
    let (method, target) = (request.next().filter(|m| !m.is_empty()), request.next());
    // Every part of it can be written, and writing to a Vec cannot fail.
    let _ = serde_json::to_writer(
        out,
        &JsonLine {
            time: format!("{began:.3}"),
            client: record.client,
            listener: words.listener,
            pool: words.pool,
            member: words.member,
            policy: words.policy,
            method,
            target,
            server_name: Some(&*line).filter(|name| !record.http && !name.is_empty()),
            no_server_name: record.unnamed,
            status: (record.http && record.status != 0).then_some(record.status),
            reason: reason(record, words),
            flags: flags(record),
            persistence: record.noted.words.map(|(found, _)| found),
            cookie: record.noted.words.and_then(|(_, answered)| answered),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            request_ms: millis(times.request),
            queue_ms: millis(times.queue),
            queue_place: queue_place(record),
            connect_ms: millis(times.connect),
            response_ms: millis(times.response),
            total_ms: times.total,
            retries: record.retries,
            redispatched: record.redispatched,
        },
    );
}
