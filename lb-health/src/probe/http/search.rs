//! Looking for what a body must contain while it is still coming, without searching the same bytes over and over. Pure.

use lb_core::config::monitor::{BODY_LOOKED_AT_MAX, ExpectedBody, compile_body_regex};
use memchr::memmem::Finder;
use regex::bytes::Regex;

/// Bytes a regular expression is run over for one body, while pieces come. A member that drips byte by byte would
/// otherwise make us search a growing body tens of thousands of times.
const SEARCHED_MAX: usize = 16 * BODY_LOOKED_AT_MAX;

/// What is looked for.
#[derive(Debug)]
pub enum Search {
    /// These bytes.
    Text(Box<Finder<'static>>),
    /// A match of this.
    Regex(Regex),
}

/// One search through one body.
#[derive(Debug)]
pub struct Hunt<'a> {
    search: &'a Search,
    /// Text: bytes that need no second look. Expression: length of the body when it was last run.
    looked_at: usize,
    budget: usize,
}

impl Search {
    /// Compiles what is expected.
    pub fn new(expected: &ExpectedBody) -> Result<Self, regex::Error> {
        Ok(match expected {
            ExpectedBody::Text(text) => Self::Text(Box::new(Finder::new(text).into_owned())),
            ExpectedBody::Regex(pattern) => Self::Regex(compile_body_regex(pattern)?),
        })
    }

    /// A search through a body of which nothing is there.
    pub fn begin(&self) -> Hunt<'_> {
        Hunt { search: self, looked_at: 0, budget: SEARCHED_MAX }
    }
}

impl Hunt<'_> {
    /// True if `text`, which only ever grows, has it. `whole`: it will grow no more.
    ///
    /// While a body grows, a match of an expression that reaches to the end of what there is does not count yet:
    /// the next byte may undo it (`ok$`, `ok\b`).
    pub fn found(&mut self, text: &[u8], whole: bool) -> bool {
        match self.search {
            Search::Text(finder) => {
                let found = finder.find(&text[self.looked_at..]).is_some();
                self.looked_at = (text.len() + 1).saturating_sub(finder.needle().len().max(1)).min(text.len());
                found
            }
            Search::Regex(regex) => {
                if !whole && !self.is_worth_it(text.len()) {
                    return false;
                }
                self.looked_at = text.len();
                self.budget = self.budget.saturating_sub(text.len());
                regex.find(text).is_some_and(|found| whole || found.end() < text.len())
            }
        }
    }

    /// While the budget lasts every piece is; then only a body that has doubled.
    fn is_worth_it(&self, len: usize) -> bool {
        len > self.looked_at && (self.budget >= len || len >= 2 * self.looked_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(needle: &str) -> Search {
        Search::new(&ExpectedBody::Text(needle.to_owned())).unwrap()
    }

    fn regex(pattern: &str) -> Search {
        Search::new(&ExpectedBody::Regex(pattern.to_owned())).unwrap()
    }

    /// Length of the body at which it is found, if it comes byte by byte.
    fn found_at(search: &Search, body: &[u8]) -> Option<usize> {
        let mut hunt = search.begin();
        (0..=body.len()).find(|n| hunt.found(&body[..*n], *n == body.len()))
    }

    #[test]
    fn text_is_found_across_pieces() {
        assert_eq!(found_at(&text("ready"), b"I am ready, really"), Some(10));
        assert_eq!(found_at(&text("ready"), b"I am read"), None);
        assert_eq!(found_at(&text("r"), b"or"), Some(2));
        assert_eq!(found_at(&text(""), b""), Some(0));
    }

    #[test]
    fn an_expression_waits_for_what_could_undo_its_match() {
        assert_eq!(found_at(&regex("status: (ok|fine)"), b"status: ok, more"), Some(11));
        assert_eq!(found_at(&regex("ok$"), b"ok, not"), None);
        assert_eq!(found_at(&regex("ok$"), b"all ok"), Some(6));
        assert_eq!(found_at(&regex(r"\bok\b"), b"okay"), None);
        assert_eq!(found_at(&regex("^$"), b""), Some(0));
    }

    /// A member that drips costs a bounded number of searches, and is still found out at the end.
    #[test]
    fn a_dripped_body_is_searched_a_bounded_number_of_times() {
        let mut body = vec![b'x'; BODY_LOOKED_AT_MAX];
        body.extend_from_slice(b"ok");
        let search = regex("ok");
        let mut hunt = search.begin();
        let mut runs = 0;
        for n in 1..=body.len() {
            let before = hunt.looked_at;
            let found = hunt.found(&body[..n], n == body.len());
            assert_eq!(found, n == body.len());
            runs += usize::from(hunt.looked_at != before);
        }
        assert!(runs < 1500, "{runs}");
    }
}
