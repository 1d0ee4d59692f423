//! Texts held against texts, and the elements of a field's value.

use memchr::memmem::Finder;
use regex::bytes::Regex;

use crate::config::l7::{CompareType, Comparison, compile_regex};

/// Whether case matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Matters,
    /// ASCII letters are the same in both cases.
    Any,
}

/// A comparison, compiled. Each takes time linear in the text.
#[derive(Debug)]
pub(super) enum Compare {
    Regex(Regex),
    StartsWith(Box<[u8]>, Case),
    EndsWith(Box<[u8]>, Case),
    Contains(Box<Finder<'static>>),
    EqualTo(Box<[u8]>, Case),
}

impl Compare {
    /// `None`: the expression does not compile, which the border to the configuration has refused.
    pub(super) fn build(comparison: &Comparison, case: Case) -> Option<Self> {
        let Comparison { compare, value } = comparison;
        let bytes = || value.as_bytes().into();
        Some(match (compare, case) {
            (CompareType::Regex, case) => Self::Regex(compile_regex(value, case == Case::Any).ok()?),
            (CompareType::StartsWith, case) => Self::StartsWith(bytes(), case),
            (CompareType::EndsWith, case) => Self::EndsWith(bytes(), case),
            // A search without regard to case is what expressions are good at.
            (CompareType::Contains, Case::Any) => Self::Regex(compile_regex(&regex::escape(value), true).ok()?),
            (CompareType::Contains, Case::Matters) => Self::Contains(Box::new(Finder::new(value).into_owned())),
            (CompareType::EqualTo, case) => Self::EqualTo(bytes(), case),
        })
    }

    pub(super) fn holds(&self, text: &[u8]) -> bool {
        match self {
            Self::Regex(regex) => regex.is_match(text),
            Self::StartsWith(value, case) => text.get(..value.len()).is_some_and(|start| same(start, value, *case)),
            Self::EndsWith(value, case) => {
                let start = text.len().checked_sub(value.len());
                start.is_some_and(|start| same(&text[start..], value, *case))
            }
            Self::Contains(finder) => finder.find(text).is_some(),
            Self::EqualTo(value, case) => same(text, value, *case),
        }
    }
}

fn same(text: &[u8], value: &[u8], case: Case) -> bool {
    match case {
        Case::Matters => text == value,
        Case::Any => text.eq_ignore_ascii_case(value),
    }
}

/// The elements of a field's value: what stands between commas that are not quoted, without white space around it.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = unquoted(text, |byte| byte == b',');
        rest = end.map(|end| &text[end + 1..]);
        Some(text[..end.unwrap_or(text.len())].trim_ascii())
    })
}

/// Where the first byte stands that `ends` takes and that is not within double quotes.
pub(super) fn unquoted(text: &[u8], ends: impl Fn(u8) -> bool) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|byte| {
        match (quoted, escaped, *byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (true, false, b'"') => quoted = false,
            (true, false, _) => {}
            (false, _, b'"') => quoted = true,
            (false, _, byte) => return ends(byte),
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stand_between_commas_outside_of_quotes() {
        let all = |value: &'static str| elements(value.as_bytes()).map(String::from_utf8_lossy).collect::<Vec<_>>();
        assert_eq!(all("a, b ,c"), ["a", "b", "c"]);
        assert_eq!(all(""), [""]);
        assert_eq!(all("a,,b"), ["a", "", "b"]);
        assert_eq!(all(r#""a,b", c"#), [r#""a,b""#, "c"]);
        assert_eq!(all(r#""a\",b", c"#), [r#""a\",b""#, "c"]);
        assert_eq!(all("\"open, c"), ["\"open, c"]);
    }
}
