//! Cookies of a request, as HAProxy's `req.cook` finds them: more is taken for a cookie than RFC 6265 allows, since members
//! take it too.

use super::text::unquoted;

/// The values of all cookies of that name in the value of one `Cookie` field.
///
/// Cookies end at `;` or `,` outside of double quotes; white space around names and values is none of theirs. Names are
/// compared with regard to case. A word without `=`, and a name that begins with `$`, is no cookie.
pub(super) fn values<'v>(field: &'v [u8], name: &'v [u8]) -> impl Iterator<Item = &'v [u8]> {
    let mut rest = Some(field);
    std::iter::from_fn(move || {
        while let Some(text) = rest {
            let (found, after) = first(text);
            rest = after;
            match found {
                Some((known, value)) if known == name && !known.starts_with(b"$") => return Some(value),
                _ => {}
            }
        }
        None
    })
}

type Cookie<'v> = Option<(&'v [u8], &'v [u8])>;

/// The first cookie, unless what stands there is none, and what follows it.
fn first(text: &[u8]) -> (Cookie<'_>, Option<&[u8]>) {
    let Some(at) = text.iter().position(|byte| matches!(byte, b'=' | b';' | b',')) else {
        return (None, None);
    };
    let (name, rest) = (text[..at].trim_ascii(), &text[at + 1..]);
    if text[at] != b'=' {
        return (None, Some(rest));
    }
    let end = value_end(rest);
    (Some((name, rest[..end.unwrap_or(rest.len())].trim_ascii())), end.map(|end| &rest[end + 1..]))
}

fn value_end(text: &[u8]) -> Option<usize> {
    unquoted(text, |byte| matches!(byte, b';' | b','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_cookies_of_a_name_are_found() {
        let of = |field: &'static str, name: &'static str| {
            values(field.as_bytes(), name.as_bytes()).map(|v| String::from_utf8_lossy(v)).collect::<Vec<_>>()
        };
        assert_eq!(of("a=1; b=2; a=3", "a"), ["1", "3"]);
        assert_eq!(of("  a  =  1 2  ;b=2", "a"), ["1 2"]);
        assert_eq!(of("A=1", "a"), [""; 0]);
        assert_eq!(of("a; b=2, a=3", "a"), ["3"]);
        assert_eq!(of("$a=1; a=\"x;y\"; aa=2", "a"), ["\"x;y\""]);
        assert_eq!(of("a=b=c", "a"), ["b=c"]);
        assert_eq!(of("a=", "a"), [""]);
        assert_eq!(of("", "a"), [""; 0]);
        assert_eq!(of("=;=,;a=1;", "a"), ["1"]);
    }
}
