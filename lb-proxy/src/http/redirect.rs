//! Answers that send the client elsewhere, as HAProxy words them.

use super::policy::field;

/// Writes the whole answer. `keeps`: the connection stays open. Returns its size as HAProxy counts it for a log line.
pub fn write(status: u16, location: &[u8], keeps: bool, out: &mut Vec<u8>) -> u64 {
    let reason = reason(status);
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(digits.format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut counted = 20 + "HTTP/1.1".len() + 3 + reason.len() + 1;
    counted += field("Content-Length", b"0", out);
    counted += field("Location", location, out);
    // Who is sent elsewhere for now asks again; the other two are for good.
    if matches!(status, 302 | 303 | 307) {
        counted += field("Cache-Control", b"no-cache", out);
    }
    out.extend_from_slice(if keeps { b"\r\n" } else { b"Connection: close\r\n\r\n" });
    counted as u64
}

fn reason(status: u16) -> &'static str {
    match status {
        301 => "Moved Permanently",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        _ => "Found",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_a_head_and_nothing_else() {
        let mut out = Vec::new();
        write(302, b"https://a/b?c", true, &mut out);
        let text = String::from_utf8(out).unwrap();
        let fields = "Content-Length: 0\r\nLocation: https://a/b?c\r\nCache-Control: no-cache\r\n\r\n";
        assert_eq!(text, format!("HTTP/1.1 302 Found\r\n{fields}"));
        let mut out = Vec::new();
        write(308, b"/", false, &mut out);
        let fields = "Content-Length: 0\r\nLocation: /\r\nConnection: close\r\n\r\n";
        assert_eq!(out, format!("HTTP/1.1 308 Permanent Redirect\r\n{fields}").as_bytes());
    }
}
