//! Header fields as spans into the buffer they were read into, sorted by what a proxy must do with them.

use super::Framing;

/// A stretch of the buffer a head was read into. Heads are shorter than 64 KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// Where `part` lies in `whole`; both are slices of the same buffer.
    pub fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        debug_assert!(start + part.len() <= whole.len());
        Self { start: start as u16, end: (start + part.len()) as u16 }
    }

    /// Its bytes.
    pub fn in_<'a>(&self, head: &'a [u8]) -> &'a [u8] {
        &head[usize::from(self.start)..usize::from(self.end)]
    }

    /// How many bytes.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks whether a stretch of a head is empty")]
    pub fn len(&self) -> usize {
        usize::from(self.end - self.start)
    }

    /// This span without its first `n` bytes.
    pub fn skip(self, n: usize) -> Self {
        Self { start: self.start + n as u16, end: self.end }
    }
}

/// One field of a head.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name, as sent.
    pub name: Span,
    /// Its value, without white space around it.
    pub value: Span,
    /// What it is to a proxy.
    pub kind: Kind,
    /// False: it stops here.
    pub forward: bool,
}

/// Most digits of a length, zeros in front included: those of the largest number that fits.
const LENGTH_DIGITS_MAX: usize = 19;

/// What a field is to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing special: forwarded.
    Other,
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// Spelled so that some readers take it for one of the two: CGI and its heirs know no hyphens.
    Lookalike,
    /// `Host`
    Host,
    /// `Expect`
    Expect,
    /// `TE`
    Te,
    /// `Date`
    Date,
    /// `Max-Forwards`
    MaxForwards,
    /// `X-Forwarded-Port`
    XForwardedPort,
    /// `X-Forwarded-Proto`
    XForwardedProto,
    /// One of `X-Forwarded-For`, `-Port` and `-Proto` to readers that know no hyphens, told apart by its length.
    ForwardedLookalike,
    /// It was taken out, and a line of ours stands in its place.
    Replaced,
    /// `X-SSL-...`, or spelled like that
    XSsl,
    /// `Upgrade`: never passed on as it stands, see [`super::upgrade`].
    Upgrade,
    /// Hop-by-hop by name: `Keep-Alive`, `Proxy-Connection`, `HTTP2-Settings`; and `Close`, which is a word of `Connection` and no field
    /// (RFC 9112 section 9.6).
    HopByHop,
}

impl Kind {
    /// Sorts a field name, in any case.
    pub fn of(name: &[u8]) -> Self {
        let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
        // The first bytes tell most names from these, and this is on every field of every request.
        let x = |third: u8| matches!(name, [b'x' | b'X', b'-' | b'_', t, ..] if *t | 0x20 == third);
        let is_like = |word: &str| x(b'f') && is_spelled_like(name, word) && !is(word);
        match name.len() {
            2 if is("te") => Self::Te,
            4 if is("host") => Self::Host,
            4 if is("date") => Self::Date,
            5 if is("close") => Self::HopByHop,
            6 if is("expect") => Self::Expect,
            7 if is("upgrade") => Self::Upgrade,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::HopByHop,
            12 if is("max-forwards") => Self::MaxForwards,
            14 if is("content-length") => Self::ContentLength,
            14 if is("content_length") => Self::Lookalike,
            14 if is("http2-settings") => Self::HopByHop,
            15 if is_like("x-forwarded-for") => Self::ForwardedLookalike,
            16 if is("x-forwarded-port") => Self::XForwardedPort,
            16 if is_like("x-forwarded-port") => Self::ForwardedLookalike,
            16 if is("proxy-connection") => Self::HopByHop,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            17 if is("transfer_encoding") => Self::Lookalike,
            17 if is("x-forwarded-proto") => Self::XForwardedProto,
            17 if is_like("x-forwarded-proto") => Self::ForwardedLookalike,
            12..=23 if x(b's') && is_spelled_like(&name[..6], "x-ssl-") => Self::XSsl,
            _ => Self::Other,
        }
    }

    /// True for fields that `Connection` may not take away: they frame the message or name its target.
    fn immune(self) -> bool {
        matches!(self, Self::ContentLength | Self::TransferEncoding | Self::Host)
    }
}

/// What the `Connection` fields of a head say about the connection itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionWords {
    /// `close`
    pub close: bool,
    /// `keep-alive`
    pub keep_alive: bool,
    /// `upgrade`
    pub upgrade: bool,
}

/// Reads all `Connection` fields, and stops the fields they nominate from being forwarded (RFC 9110 section
/// 7.6.1), save those a proxy needs to stay understood.
pub fn apply_connection(head: &[u8], fields: &mut [Field]) -> ConnectionWords {
    let mut words = ConnectionWords::default();
    for at in 0..fields.len() {
        if fields[at].kind != Kind::Connection {
            continue;
        }
        for word in list(fields[at].value.in_(head)) {
            if word.eq_ignore_ascii_case(b"close") {
                words.close = true;
            } else if word.eq_ignore_ascii_case(b"keep-alive") {
                words.keep_alive = true;
            } else if word.eq_ignore_ascii_case(b"upgrade") {
                words.upgrade = true;
            } else {
                for field in fields.iter_mut().filter(|f| !f.kind.immune()) {
                    if field.name.in_(head).eq_ignore_ascii_case(word) {
                        field.forward = false;
                    }
                }
            }
        }
    }
    words
}

/// The elements of a comma-separated list, without the empty ones (RFC 9110 section 5.6.1).
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Why a body's framing cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguous {
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndEncoding,
    /// More than one `Content-Length`, not all the same.
    Lengths,
    /// A `Content-Length` that is not a plain number that fits.
    BadLength,
    /// A `Transfer-Encoding` that is not exactly `chunked`.
    BadEncoding,
    /// A `Transfer-Encoding` we do not know.
    UnknownEncoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    EncodingInOldVersion,
    /// A field that some readers take for one of the two.
    Lookalike,
}

/// What the framing fields of a head say, before method or status are considered. `None`: they say nothing.
pub fn framing(head: &[u8], fields: &[Field], minor_version: u8) -> Result<Option<Framing>, Ambiguous> {
    let mut length: Option<u64> = None;
    let mut chunked = false;
    for field in fields {
        match field.kind {
            Kind::ContentLength => {
                let value = decimal(field.value.in_(head)).ok_or(Ambiguous::BadLength)?;
                if length.is_some_and(|before| before != value) {
                    return Err(Ambiguous::Lengths);
                }
                length = Some(value);
            }
            Kind::TransferEncoding => {
                if chunked {
                    return Err(Ambiguous::BadEncoding);
                }
                check_encoding(field.value.in_(head))?;
                chunked = true;
            }
            Kind::Lookalike => return Err(Ambiguous::Lookalike),
            _ => {}
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(Ambiguous::LengthAndEncoding),
        (None, true) if minor_version == 0 => Err(Ambiguous::EncodingInOldVersion),
        (None, true) => Ok(Some(Framing::Chunked)),
        (Some(n), false) => Ok(Some(Framing::Length(n))),
        (None, false) => Ok(None),
    }
}

fn check_encoding(value: &[u8]) -> Result<(), Ambiguous> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let known = [&b"gzip"[..], b"deflate", b"compress", b"x-gzip", b"x-compress"];
    let coding = value.split(|b| *b == b',' || *b == b';').next().unwrap_or_default().trim_ascii();
    if known.iter().any(|k| coding.eq_ignore_ascii_case(k)) {
        Err(Ambiguous::UnknownEncoding)
    } else {
        Err(Ambiguous::BadEncoding)
    }
}

/// One length is passed on, as a plain number: equal ones given twice are one (RFC 9112 section 6.3), and zeros before it
/// mean nothing. Framing was judged before.
pub fn settle_lengths(head: &[u8], fields: &mut [Field]) {
    let mut first = true;
    for field in fields.iter_mut().filter(|f| f.kind == Kind::ContentLength) {
        while matches!(field.value.in_(head), [b'0', _, ..]) {
            field.value = field.value.skip(1);
        }
        field.forward &= std::mem::take(&mut first);
    }
}

/// A number of digits only, that fits, with a sign too: many readers have one. No sign is written, no white space, no list
/// (RFC 9110 section 8.6).
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > LENGTH_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n = digits.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0'));
    (n <= i64::MAX as u64).then_some(n)
}

/// True if `name` is `word` to those who know no hyphens, as CGI and its heirs: they take `X_Forwarded_For` for `X-Forwarded-For`.
pub fn is_spelled_like(name: &[u8], word: &str) -> bool {
    let same = |(a, b): (&u8, u8)| a.eq_ignore_ascii_case(&b) || (*a == b'_' && b == b'-');
    name.len() == word.len() && name.iter().zip(word.bytes()).all(same)
}

/// Writes one field line.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_that_fit() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"0042"), Some(42));
        assert_eq!(decimal(b"9223372036854775807"), Some(9_223_372_036_854_775_807));
        for bad in [
            "9223372036854775808",
            "9999999999999999999",
            "",
            "+5",
            "-5",
            "0x5",
            "5.0",
            "1_0",
            "\"5\"",
            "5abc",
            "5 6",
            "5,5",
            "18446744073709551621",
        ] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn lists_skip_empty_elements() {
        let words: Vec<_> = list(b" a ,, b,c ,").collect();
        assert_eq!(words, [b"a", b"b", b"c"]);
    }
}
