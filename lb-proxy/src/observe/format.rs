//! Lines as people and tools know them: HAProxy's `tcplog` and `httplog`, and JSON with a reason in words.
//!
//! In HTTP lines `%B` counts as HAProxy does: 20, the three words of the status line, names and values of the
//! header fields (without `Connection`), 1, and the body. JSON carries the bytes of the wire instead.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lb_core::config::LogFormat;
use serde_json::json;

use super::record::{Record, Words};

/// Appends one line (without its end) to `out`. `began` is the wall-clock time of the record's beginning.
pub fn line(format: LogFormat, record: &Record, words: Words<'_>, began: Timestamp, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = match format {
        LogFormat::Tcplog => tcplog(record, words, began, out),
        LogFormat::Httplog => httplog(record, words, began, out),
        LogFormat::Json => json_line(record, words, began, out),
    };
}

fn head(record: &Record, words: Words<'_>, began: Timestamp, out: &mut String) -> std::fmt::Result {
    let local = began.to_zoned(TimeZone::system());
    write!(
        out,
        "{}:{} [{:02}/{}/{:04}:{:02}:{:02}:{:02}.{:03}] {} {}/{} ",
        record.client.ip().to_canonical(),
        record.client.port(),
        local.day(),
        MONTHS[(local.month() - 1) as usize],
        local.year(),
        local.hour(),
        local.minute(),
        local.second(),
        local.millisecond(),
        words.listener,
        words.pool.unwrap_or(words.listener),
        words.member.unwrap_or("<NOSRV>"),
    )
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn tail(record: &Record, out: &mut String) -> std::fmt::Result {
    let load = record.load;
    let moved = if record.redispatched { "+" } else { "" };
    write!(out, "{}/{}/{}/{}/{moved}{} 0/0", load.process, load.listener, load.pool, load.member, record.retries)
}

fn flags(record: &Record) -> &str {
    std::str::from_utf8(&record.ending.flags).unwrap_or("--")
}

/// `%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq`
fn tcplog(record: &Record, words: Words<'_>, began: Timestamp, out: &mut String) -> std::fmt::Result {
    head(record, words, began, out)?;
    let times = record.times;
    write!(out, "{}/{}/{} {} {} ", times.queue, times.connect, times.total, record.bytes_out, flags(record))?;
    tail(record, out)
}

/// `%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %{+Q}r`
fn httplog(record: &Record, words: Words<'_>, began: Timestamp, out: &mut String) -> std::fmt::Result {
    head(record, words, began, out)?;
    let times = record.times;
    let status = if record.status == 0 { -1 } else { i32::from(record.status) };
    write!(
        out,
        "{}/{}/{}/{}/{} {} {} - - {}-- ",
        times.request,
        times.queue,
        times.connect,
        times.response,
        times.total,
        status,
        record.bytes_counted,
        flags(record),
    )?;
    tail(record, out)?;
    out.push_str(" \"");
    quoted(words.line, out);
    out.push('"');
    Ok(())
}

/// HAProxy's way with bytes that would end the quotes or the line: `#` and two hex digits.
fn quoted(line: &[u8], out: &mut String) {
    if line.is_empty() {
        out.push_str("<BADREQ>");
    }
    for byte in line {
        if byte.is_ascii_graphic() && *byte != b'"' && *byte != b'#' || *byte == b' ' {
            out.push(char::from(*byte));
        } else {
            let _ = write!(out, "#{byte:02X}");
        }
    }
}

fn json_line(record: &Record, words: Words<'_>, began: Timestamp, out: &mut String) -> std::fmt::Result {
    let millis = |ms: i32| (ms >= 0).then_some(ms);
    let times = record.times;
    let mut request = words.line.split(|b| *b == b' ').map(String::from_utf8_lossy);
    let (method, target) = (request.next().filter(|m| !m.is_empty()), request.next());
    let value = json!({
        "time": format!("{began:.3}"),
        "client": record.client.to_string(),
        "listener": words.listener,
        "pool": words.pool,
        "member": words.member,
        "method": if record.http { method } else { None },
        "target": if record.http { target } else { None },
        "status": (record.http && record.status != 0).then_some(record.status),
        "reason": record.ending.reason,
        "flags": flags(record),
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "request_ms": millis(times.request),
        "connect_ms": millis(times.connect),
        "response_ms": millis(times.response),
        "total_ms": times.total,
        "retries": record.retries,
        "redispatched": record.redispatched,
    });
    write!(out, "{value}")
}
