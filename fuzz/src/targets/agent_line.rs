//! Whatever a member's agent says, it is a line within bounds or a fault; what follows the line does not matter.

use lb_core::health::agent_line::{WORDS_LEN_MAX, parse};

pub(super) fn run(said: &[u8]) {
    let parsed = parse(said);
    if let Ok(line) = &parsed {
        assert!(line.reason.len() <= WORDS_LEN_MAX);
        assert!(line.unknown.as_ref().is_none_or(|word| word.len() <= WORDS_LEN_MAX));
        if let Some(end) = said.iter().position(|b| matches!(b, b'\r' | b'\n')) {
            let more = [&said[..=end], b"maint down 1%\n"].concat();
            assert_eq!(parse(&more), parsed);
        }
    }
}
