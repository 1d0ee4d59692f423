//! Words about what went wrong, partly a member's own: short, and without a byte that would spoil a log or a terminal.

/// Longest words of a result, in bytes.
pub(crate) const WORDS_MAX: usize = 200;

/// `text` as words of a result: control characters replaced, cut to [`WORDS_MAX`] bytes.
pub(crate) fn words(text: &str) -> Box<str> {
    let mut kept = String::with_capacity(text.len().min(WORDS_MAX));
    for character in text.chars() {
        let character = if character.is_control() { '.' } else { character };
        if kept.len() + character.len_utf8() > WORDS_MAX {
            break;
        }
        kept.push(character);
    }
    kept.into_boxed_str()
}

/// The beginning of what a member said instead of its protocol, in quotes.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let beginning = &bytes[..bytes.len().min(24)];
    let dots = if bytes.len() > beginning.len() { "…" } else { "" };
    format!("\"{}{dots}\"", beginning.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_short_and_clean() {
        assert_eq!(&*words("a\r\n\u{1b}[31mb"), "a...[31mb");
        let long = words(&"é".repeat(500));
        assert!(long.len() <= WORDS_MAX && long.chars().all(|c| c == 'é'));
        assert_eq!(quoted(b"SSH-2.0\r\n"), "\"SSH-2.0\\r\\n\"");
    }
}
