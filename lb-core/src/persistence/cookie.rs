//! Cookies of a request and of an answer, as stretches of the field they stand in.
//!
//! A `Cookie` field is what RFC 6265 section 4.2 says: pairs between semicolons, nothing else. Quotes are part of a value and
//! hide no semicolon. Whatever is not ours is copied byte for byte; each field is walked once.

/// One pair of a `Cookie` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// Without white space around it; empty if there is no `=`.
    pub name: &'a [u8],
    /// What follows the first `=`, without white space around it; all of it if there is none.
    pub value: &'a [u8],
}

impl<'a> Pair<'a> {
    fn read(text: &'a [u8]) -> Self {
        match text.iter().position(|b| *b == b'=') {
            Some(at) => Self { name: text[..at].trim_ascii(), value: text[at + 1..].trim_ascii() },
            None => Self { name: b"", value: text.trim_ascii() },
        }
    }

    /// Its value without the quotes some clients put around it.
    pub fn unquoted(&self) -> &'a [u8] {
        match self.value {
            [b'"', inside @ .., b'"'] => inside,
            value => value,
        }
    }
}

/// The pairs of one `Cookie` field, in order, empty ones too.
pub fn pairs(field: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    field.split(|b| *b == b';').map(Pair::read)
}

/// The pair that a `Set-Cookie` field sets.
pub fn set(field: &[u8]) -> Pair<'_> {
    Pair::read(field.split(|b| *b == b';').next().unwrap_or_default())
}

/// Appends `field` without the pairs of that name; false, and nothing appended, if there is nothing left then.
pub fn write_without(field: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let (mut kept, mut cut, mut left) = (false, false, false);
    for text in field.split(|b| *b == b';') {
        if Pair::read(text).name == name {
            cut = true;
            continue;
        }
        // The space before a pair belongs to the semicolon that is gone.
        let text = if cut && !kept { text.trim_ascii_start() } else { text };
        if kept {
            out.push(b';');
        }
        out.extend_from_slice(text);
        kept = true;
        left |= !text.trim_ascii().is_empty();
    }
    if cut && !left {
        out.truncate(start);
    }
    left || !cut
}

/// Appends `field`; from values of that name the first bytes are left out, as many as `skip` says.
pub fn write_shortened(field: &[u8], name: &[u8], skip: impl Fn(&[u8]) -> usize, out: &mut Vec<u8>) {
    for (n, text) in field.split(|b| *b == b';').enumerate() {
        if n > 0 {
            out.push(b';');
        }
        let pair = Pair::read(text);
        let skipped = if pair.name == name { skip(pair.value) } else { 0 };
        match (skipped, text.iter().position(|b| *b == b'=')) {
            (0, _) | (_, None) => out.extend_from_slice(text),
            (skipped, Some(equals)) => {
                let (before, value) = text.split_at(equals + 1);
                let blank = value.len() - value.trim_ascii_start().len();
                out.extend_from_slice(before);
                out.extend_from_slice(&value[..blank]);
                out.extend_from_slice(&value[blank + skipped..]);
            }
        }
    }
}

/// Appends the `Set-Cookie` field `field` with another value. `value` writes it, and gets the old one.
pub fn write_revalued(field: &[u8], value: impl FnOnce(&[u8], &mut Vec<u8>), out: &mut Vec<u8>) {
    let end = field.iter().position(|b| *b == b';').unwrap_or(field.len());
    let (pair, attributes) = field.split_at(end);
    let equals = pair.iter().position(|b| *b == b'=').unwrap_or(0);
    out.extend_from_slice(&pair[..equals]);
    out.push(b'=');
    value(Pair::read(pair).value, out);
    out.extend_from_slice(attributes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn without(field: &str, name: &str) -> Option<String> {
        let mut out = b"before".to_vec();
        let left = write_without(field.as_bytes(), name.as_bytes(), &mut out);
        let out = String::from_utf8(out).unwrap();
        let rest = out.strip_prefix("before").unwrap();
        assert!(left || rest.is_empty());
        left.then(|| rest.to_owned())
    }

    #[test]
    fn what_is_left_is_byte_for_byte_what_was_sent() {
        for (field, left) in [
            ("S=1", None),
            ("S=1;", None),
            (" S = 1 ; ; ", None),
            ("S=1; S=2;S=", None),
            ("a=1; S=x; b=2", Some("a=1; b=2")),
            ("S=x; a=1", Some("a=1")),
            ("a=1; S=x", Some("a=1")),
            ("a=1;S=x;b = \"q ;\" ", Some("a=1;b = \"q ;\" ")),
            ("s=1; SS=2; S1=3; =S; S", Some("s=1; SS=2; S1=3; =S; S")),
            ("a=b=c==; S=x=y", Some("a=b=c==")),
            ("", Some("")),
            (";;", Some(";;")),
        ] {
            assert_eq!(without(field, "S"), left.map(str::to_owned), "{field:?}");
        }
    }

    #[test]
    fn pairs_are_read_as_servers_read_them() {
        let read: Vec<Pair<'_>> = pairs(b"a=1; b = x=y ;; \"c\"; d=\"q\";e=\"").collect();
        let pair = |name: &'static str, value: &'static str| Pair { name: name.as_bytes(), value: value.as_bytes() };
        let all =
            [pair("a", "1"), pair("b", "x=y"), pair("", ""), pair("", "\"c\""), pair("d", "\"q\""), pair("e", "\"")];
        assert_eq!(read, all);
        assert_eq!((read[4].unquoted(), read[5].unquoted()), (&b"q"[..], &b"\""[..]));
        assert_eq!(set(b" S = v ; Path=/; S=2"), pair("S", "v"));
    }

    #[test]
    fn a_value_is_shortened_where_it_stands() {
        let mut out = Vec::new();
        let skip = |value: &[u8]| value.iter().position(|b| *b == b'~').map_or(0, |at| at + 1);
        write_shortened(b"a=1~2; S= V~x; S=y;S=V~ ;b=2", b"S", skip, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "a=1~2; S= x; S=y;S= ;b=2");
    }

    #[test]
    fn a_set_cookie_gets_another_value_and_keeps_its_attributes() {
        for (field, becomes) in
            [("S=old; Path=/; HttpOnly", "S=<old>; Path=/; HttpOnly"), ("S = \"o;d\"", "S =<\"o>;d\""), ("S=", "S=<>")]
        {
            let mut out = Vec::new();
            let value = |old: &[u8], out: &mut Vec<u8>| out.extend([b"<", old, b">"].concat());
            write_revalued(field.as_bytes(), value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), becomes);
        }
    }

    fn fields() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(prop::sample::select(b" ;=\"S~a,".to_vec()), 0..200),
        ]
    }

    proptest! {
        #[test]
        fn cutting_a_name_leaves_every_other_pair_alone(field in fields()) {
            let mut out = Vec::new();
            let left = write_without(&field, b"S", &mut out);
            let others = |field: &[u8]| -> Vec<Vec<u8>> {
                field.split(|b| *b == b';').filter(|t| Pair::read(t).name != b"S").map(<[u8]>::to_vec).collect()
            };
            let (mut before, mut after) = (others(&field), others(&out));
            if !left {
                prop_assert!(before.iter().all(|text| text.trim_ascii().is_empty()));
                prop_assert!(out.is_empty());
                return Ok(());
            }
            prop_assert!(pairs(&out).all(|pair| pair.name != b"S"));
            // Only white space at the very front may go, with the semicolon that was before it.
            if let (Some(a), Some(b)) = (before.first_mut(), after.first_mut()) {
                *a = a.trim_ascii_start().to_vec();
                *b = b.trim_ascii_start().to_vec();
            }
            prop_assert_eq!(before, after);
            let mut again = Vec::new();
            prop_assert!(write_without(&out, b"S", &mut again));
            prop_assert_eq!(again, out);
        }

        #[test]
        fn an_independent_reader_finds_the_same_pairs(field in "[ -~]{0,120}") {
            // It reports pairs without a name, or without `=`, as errors; we name them "".
            let theirs: Vec<(String, String)> = cookie::Cookie::split_parse(&field)
                .filter_map(Result::ok)
                .map(|cookie| (cookie.name().to_owned(), cookie.value().to_owned()))
                .collect();
            let ours: Vec<(String, String)> = pairs(field.as_bytes())
                .filter(|pair| !pair.name.is_empty())
                .map(|pair| (String::from_utf8_lossy(pair.name).into(), String::from_utf8_lossy(pair.value).into()))
                .collect();
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn nothing_skipped_is_nothing_changed(field in fields()) {
            let mut out = Vec::new();
            write_shortened(&field, b"S", |_| 0, &mut out);
            prop_assert_eq!(&out, &field);
        }
    }
}
