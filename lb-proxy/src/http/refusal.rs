//! Answers made here: one small page for each status, each replaceable by the listener's own.

use std::collections::BTreeMap;

use super::date;

/// The page of a status: title and sentence. The words are HAProxy's where it has the status.
fn page(status: u16) -> (&'static str, &'static str) {
    match status {
        400 => ("Bad request", "Your browser sent an invalid request."),
        403 => ("Forbidden", "Request forbidden by administrative rules."),
        404 => ("Not Found", "The resource could not be found."),
        405 => ("Method Not Allowed", "This method is not served here."),
        408 => ("Request Time-out", "Your browser didn't send a complete request in time."),
        413 => ("Content Too Large", "The body of the request is too large."),
        414 => ("URI Too Long", "The target of the request is too long."),
        417 => ("Expectation Failed", "The expectation of the request cannot be met."),
        429 => ("Too Many Requests", "You have sent too many requests in a given amount of time."),
        431 => ("Request Header Fields Too Large", "The head of the request is too large."),
        501 => ("Not Implemented", "The server does not support a feature of the request."),
        502 => ("Bad Gateway", "The server returned an invalid or incomplete response."),
        503 => ("Service Unavailable", "No server is available to handle this request."),
        504 => ("Gateway Time-out", "The server didn't respond in time."),
        505 => ("HTTP Version Not Supported", "Only HTTP/1.0 and HTTP/1.1 are served here."),
        _ => ("Internal Server Error", "An internal server error occurred."),
    }
}

/// How a page is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer {
    /// HEAD asked: no body.
    pub bodiless: bool,
    /// The connection stays open.
    pub keeps: bool,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
}

/// Writes the whole answer for `status` to `out`. `own` are the listener's pages. Returns its size as HAProxy counts it for a
/// log line.
pub fn write(status: u16, own: &BTreeMap<u16, String>, answer: Answer, out: &mut Vec<u8>) -> u64 {
    let (title, sentence) = page(status);
    let built_in = || format!("<html><body><h1>{status} {title}</h1>\n{sentence}\n</body></html>\n");
    let body = own.get(&status).cloned().unwrap_or_else(built_in);
    out.extend_from_slice(format!("HTTP/1.1 {status} {title}\r\nContent-Length: {}\r\n", body.len()).as_bytes());
    out.extend_from_slice(b"Cache-Control: no-cache\r\nContent-Type: text/html\r\n");
    if status == 405 {
        out.extend_from_slice(b"Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\n");
    }
    super::h1::fields::write_field(out, b"Date", &date::now());
    let retry_after = answer.retry_after.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
    out.extend_from_slice(retry_after.as_bytes());
    out.extend_from_slice(if answer.keeps { b"\r\n" } else { b"Connection: close\r\n\r\n" });
    if !answer.bodiless {
        out.extend_from_slice(body.as_bytes());
    }
    let fields = "content-length".len() + body.len().to_string().len() + "cache-control: no-cache".len() - 2
        + "content-type: text/html".len()
        - 2
        + retry_after.len().saturating_sub(": \r\n".len());
    let sent = if answer.bodiless { 0 } else { body.len() };
    (20 + "HTTP/1.1".len() + 3 + title.len() + fields + 1 + sent) as u64
}
