//! The head of a member's answer, bounded and read strictly. Pure.

use memchr::memchr;

use crate::words::{quoted, words};

/// Bytes of all heads of an answer together, interim ones included. HAProxy's bound is its buffer, about as large.
pub const HEAD_MAX: usize = 16 * 1024;

/// Fields of one head; HAProxy takes 101.
const FIELDS_MAX: usize = 100;

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many bytes.
    Exactly(u64),
    /// Chunks tell.
    Chunked,
    /// The end of the connection tells.
    UntilClose,
}

/// What matters of a final head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// 101, 200..=999.
    pub status: u16,
    /// How long the body is.
    pub length: Length,
    /// Where the body begins.
    pub end: usize,
}

/// Finds the end of a head in bytes that come piece by piece; each byte is looked at about once.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// Where the head at hand begins: after interim ones.
    begin: usize,
    /// Where the line at hand begins.
    line: usize,
    /// How far that line was searched for its end.
    searched: usize,
}

impl HeadReader {
    /// Looks at all that was said so far. `None`: the final head is not complete. Skips interim heads but 101.
    pub fn look(&mut self, said: &[u8]) -> Result<Option<Head>, Box<str>> {
        loop {
            is_http(&said[self.begin..])?;
            let Some(end) = self.find_end(said) else {
                return if said.len() > HEAD_MAX { Err(too_long()) } else { Ok(None) };
            };
            if end > HEAD_MAX {
                return Err(too_long());
            }
            let (status, length) = judge(&said[self.begin..end])?;
            if (100..200).contains(&status) && status != 101 {
                self.begin = end;
                continue;
            }
            return Ok(Some(Head { status, length, end }));
        }
    }

    /// Where the first empty line ends.
    fn find_end(&mut self, said: &[u8]) -> Option<usize> {
        while let Some(at) = memchr(b'\n', &said[self.searched..]) {
            let end = self.searched + at + 1;
            let line = &said[self.line..end];
            (self.line, self.searched) = (end, end);
            if line == b"\r\n" || line == b"\n" {
                return Some(end);
            }
        }
        self.searched = said.len();
        None
    }
}

fn too_long() -> Box<str> {
    words(&format!("a head of more than {} KiB", HEAD_MAX / 1024))
}

/// Refuses at once what cannot become HTTP/1, so that nobody waits for the rest of another protocol's greeting.
fn is_http(said: &[u8]) -> Result<(), Box<str>> {
    const BEGINNING: &[u8] = b"HTTP/1.";
    let compared = said.len().min(BEGINNING.len());
    if said[..compared] == BEGINNING[..compared] {
        return Ok(());
    }
    Err(match said {
        [0x15 | 0x16, 3, ..] => "not HTTP but TLS".into(),
        _ => words(&format!("not HTTP/1: {}", quoted(said))),
    })
}

/// Status and body length of a complete head.
fn judge(head: &[u8]) -> Result<(u16, Length), Box<str>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err("not a status line and fields".into()),
        Err(error) => return Err(refused(error, head)),
    }
    let status = response.code.unwrap_or_default();
    if !(100..1000).contains(&status) {
        return Err(words(&format!("a status of {status}")));
    }
    Ok((status, length(status, response.headers)?))
}

fn refused(error: httparse::Error, head: &[u8]) -> Box<str> {
    match error {
        httparse::Error::TooManyHeaders => words(&format!("more than {FIELDS_MAX} fields")),
        httparse::Error::HeaderName | httparse::Error::HeaderValue => words(&format!("a field that is none ({error})")),
        _ => words(&format!("not a status line: {}", quoted(head))),
    }
}

/// RFC 9112, 6.3.
fn length(status: u16, fields: &[httparse::Header<'_>]) -> Result<Length, Box<str>> {
    if status < 200 || status == 204 || status == 304 {
        return Ok(Length::Exactly(0));
    }
    let mut length = Length::UntilClose;
    let mut encoded = None;
    for field in fields {
        if field.name.eq_ignore_ascii_case("transfer-encoding") {
            encoded = field.value.rsplit(|b| *b == b',').next();
        } else if field.name.eq_ignore_ascii_case("content-length") {
            let this = Length::Exactly(
                number(field.value).ok_or_else(|| words(&format!("a Content-Length of {}", quoted(field.value))))?,
            );
            if length != Length::UntilClose && length != this {
                return Err("two different Content-Lengths".into());
            }
            length = this;
        }
    }
    match encoded {
        None => Ok(length),
        Some(last) if last.trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(Length::Chunked),
        Some(_) => Ok(Length::UntilClose),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(said: &[u8]) -> Result<Option<Head>, Box<str>> {
        let whole = HeadReader::default().look(said);
        let mut reader = HeadReader::default();
        let dripped = (0..=said.len()).find_map(|n| reader.look(&said[..n]).transpose()).transpose();
        assert_eq!(whole.is_err(), dripped.is_err(), "{}", said.escape_ascii());
        if whole.is_ok() {
            assert_eq!(whole, dripped, "{}", said.escape_ascii());
        }
        whole
    }

    fn status(said: &str) -> Option<u16> {
        read(said.as_bytes()).unwrap().map(|head| head.status)
    }

    #[test]
    fn a_status_is_known_when_its_head_is_complete() {
        assert_eq!(status("HTTP/1.0 200 OK\r\n\r\n"), Some(200));
        assert_eq!(status("HTTP/1.1 503\r\nA: b\r\n\r\nrest"), Some(503));
        assert_eq!(status("HTTP/1.1 302 Found\n\n"), Some(302));
        assert_eq!(status("HTTP/1.0 200 OK\r\nA: b\r\n"), None);
        assert_eq!(status("HTT"), None);
    }

    #[test]
    fn interim_heads_are_skipped() {
        assert_eq!(
            status("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n"),
            Some(204)
        );
        assert_eq!(status("HTTP/1.1 101 Switching\r\n\r\n"), Some(101));
        let endless = "HTTP/1.1 100 Continue\r\n\r\n".repeat(HEAD_MAX / 25 + 2);
        assert_eq!(&*read(endless.as_bytes()).unwrap_err(), "a head of more than 16 KiB");
    }

    #[test]
    fn what_is_not_http_is_told_at_once() {
        assert_eq!(
            &*read(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n").unwrap_err(),
            "not HTTP/1: \"SSH-2.0-OpenSSH_9.2p1 De…\""
        );
        assert_eq!(&*read(b"\x15\x03\x01\0\x02\x02\x46").unwrap_err(), "not HTTP but TLS");
        for bad in [
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn heads_are_bounded() {
        let with = |n: usize| format!("HTTP/1.0 200 OK\r\nA: {}\r\n\r\n", "x".repeat(n));
        assert_eq!(status(&with(14_000)), Some(200));
        assert!(HeadReader::default().look(with(20_000).as_bytes()).is_err());
        assert!(HeadReader::default().look(&with(20_000).as_bytes()[..18_000]).is_err(), "before its end is seen");
        let many = format!("HTTP/1.0 200 OK\r\n{}\r\n", "A: x\r\n".repeat(150));
        assert_eq!(&*read(many.as_bytes()).unwrap_err(), "more than 100 fields");
    }

    #[test]
    fn lengths_of_bodies() {
        let length =
            |fields: &str| read(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes()).unwrap().unwrap().length;
        assert_eq!(length(""), Length::UntilClose);
        assert_eq!(length("Content-Length: 7\r\n"), Length::Exactly(7));
        assert_eq!(length("Content-Length: 7\r\nTransfer-Encoding: gzip, Chunked\r\n"), Length::Chunked);
        assert_eq!(length("Transfer-Encoding: gzip\r\n"), Length::UntilClose);
    }
}
