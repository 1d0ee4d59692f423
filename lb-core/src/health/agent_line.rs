//! The line an agent on a member says about it, in HAProxy's words (`agent-check`).
//!
//! Words stand between spaces, tabs and commas, in any case; `#` begins a reason in words. Known words count even
//! beside one that is not known, as in HAProxy; the unknown one is reported.

use serde::{Deserialize, Serialize};

/// Most bytes of an answer that are looked at. An agent whose line is longer says nothing.
pub const LINE_LEN_MAX: usize = 1024;
/// Longest reason or unknown word kept, in bytes.
pub const WORDS_LEN_MAX: usize = 200;

/// What one line said. Whatever it does not mention stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentLine {
    /// `NN%` or `weight:N[%]`.
    pub weight: Option<AgentWeight>,
    /// `maxconn:N`.
    pub maxconn: Option<u32>,
    /// `ready`, `drain`, `maint`.
    pub admin: Option<AgentAdmin>,
    /// `up`, `down`, `failed`, `stopped`.
    pub health: Option<AgentHealth>,
    /// What stood after `#`, at most [`WORDS_LEN_MAX`] bytes.
    pub reason: Box<str>,
    /// The last word nobody knows, at most [`WORDS_LEN_MAX`] bytes.
    pub unknown: Option<Box<str>>,
}

/// A weight an agent asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentWeight {
    /// Of the weight in the document; over 100 is more than that.
    Percent(u16),
    /// In its stead, 0..=256.
    Absolute(u16),
}

/// An administrative word of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AgentAdmin {
    /// Takes work, as far as the agent is concerned.
    Ready,
    /// No new work.
    Drain,
    /// Not used at all.
    Maint,
}

/// An operational word of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AgentHealth {
    /// Well, if the monitors agree.
    Up,
    /// Not well.
    Down,
    /// The same; the service failed.
    Failed,
    /// The same; somebody stopped the service.
    Stopped,
}

impl AgentHealth {
    /// True if the member may be up.
    pub fn is_up(self) -> bool {
        self == Self::Up
    }
}

/// Why an answer is no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentFault {
    /// Nothing was said.
    #[error("the agent said nothing")]
    Empty,
    /// No line end within [`LINE_LEN_MAX`] bytes.
    #[error("the agent's line is longer than {LINE_LEN_MAX} bytes")]
    TooLong,
}

/// Reads what the agent said up to the first line end, or all of it if it ended without one.
pub fn parse(said: &[u8]) -> Result<AgentLine, AgentFault> {
    let end = said.iter().take(LINE_LEN_MAX + 1).position(|b| matches!(b, b'\r' | b'\n'));
    let line = match end {
        Some(end) => &said[..end],
        None if said.len() > LINE_LEN_MAX => return Err(AgentFault::TooLong),
        None => said,
    };
    let text = String::from_utf8_lossy(line);
    let (words, reason) = text.split_once('#').unwrap_or((&text, ""));
    let mut line = AgentLine { reason: bounded(reason.trim()), ..AgentLine::default() };
    let mut any = false;
    for word in words.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
        any = true;
        line.take(word);
    }
    if any { Ok(line) } else { Err(AgentFault::Empty) }
}

impl AgentLine {
    /// The last word of a kind wins.
    fn take(&mut self, word: &str) {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "up" => self.health = Some(AgentHealth::Up),
            "down" => self.health = Some(AgentHealth::Down),
            "fail" | "failed" => self.health = Some(AgentHealth::Failed),
            "stopped" => self.health = Some(AgentHealth::Stopped),
            "ready" => self.admin = Some(AgentAdmin::Ready),
            "drain" => self.admin = Some(AgentAdmin::Drain),
            "maint" => self.admin = Some(AgentAdmin::Maint),
            _ => match figure(&lower) {
                Some(Figure::Weight(weight)) => self.weight = Some(weight),
                Some(Figure::Maxconn(most)) => self.maxconn = Some(most),
                None => self.unknown = Some(bounded(word)),
            },
        }
    }
}

enum Figure {
    Weight(AgentWeight),
    Maxconn(u32),
}

fn figure(word: &str) -> Option<Figure> {
    if let Some(most) = word.strip_prefix("maxconn:") {
        return number(most).map(Figure::Maxconn);
    }
    let weight = word.strip_prefix("weight:");
    let weight = match (weight.unwrap_or(word).strip_suffix('%'), weight) {
        (Some(percent), _) => AgentWeight::Percent(number(percent)?.try_into().ok()?),
        (None, Some(absolute)) => AgentWeight::Absolute(number(absolute).filter(|w| *w <= 256)?.try_into().ok()?),
        (None, None) => return None,
    };
    Some(Figure::Weight(weight))
}

/// Digits and nothing else: no sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Printable, at most [`WORDS_LEN_MAX`] bytes.
fn bounded(text: &str) -> Box<str> {
    let mut kept = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if kept.len() + c.len_utf8() > WORDS_LEN_MAX {
            break;
        }
        kept.push(c);
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(said: &str) -> AgentLine {
        parse(said.as_bytes()).unwrap()
    }

    #[test]
    fn haproxys_words_are_understood() {
        let nothing = AgentLine::default;
        for (said, expected) in [
            ("75%\n", AgentLine { weight: Some(AgentWeight::Percent(75)), ..nothing() }),
            ("weight:10\n", AgentLine { weight: Some(AgentWeight::Absolute(10)), ..nothing() }),
            ("weight:150%", AgentLine { weight: Some(AgentWeight::Percent(150)), ..nothing() }),
            ("maxconn:30\r\nmore", AgentLine { maxconn: Some(30), ..nothing() }),
            (
                "UP, Ready\t0%\r\n",
                AgentLine {
                    health: Some(AgentHealth::Up),
                    admin: Some(AgentAdmin::Ready),
                    weight: Some(AgentWeight::Percent(0)),
                    ..nothing()
                },
            ),
            (
                "down # disk, full  \n",
                AgentLine { health: Some(AgentHealth::Down), reason: "disk, full".into(), ..nothing() },
            ),
            (
                "stopped#by hand\n",
                AgentLine { health: Some(AgentHealth::Stopped), reason: "by hand".into(), ..nothing() },
            ),
            ("failed", AgentLine { health: Some(AgentHealth::Failed), ..nothing() }),
            (
                "maint up drain",
                AgentLine { admin: Some(AgentAdmin::Drain), health: Some(AgentHealth::Up), ..nothing() },
            ),
            ("up sideways", AgentLine { health: Some(AgentHealth::Up), unknown: Some("sideways".into()), ..nothing() }),
        ] {
            assert_eq!(line(said), expected, "{said:?}");
        }
        for unknown in ["50", "%", "-5%", "+5%", "weight:", "weight:257", "maxconn:-1", "70000%", "maxconn:x", "upp"] {
            assert_eq!(line(unknown), AgentLine { unknown: Some(unknown.into()), ..nothing() }, "{unknown:?}");
        }
    }

    #[test]
    fn what_is_no_line_says_so() {
        for empty in ["", "\n", "\r\nup\n", " ,\t", "# only a reason"] {
            assert_eq!(parse(empty.as_bytes()), Err(AgentFault::Empty), "{empty:?}");
        }
        let long = "u".repeat(LINE_LEN_MAX + 1);
        assert_eq!(parse(long.as_bytes()), Err(AgentFault::TooLong));
        assert!(parse(format!("{}\n", &long[1..]).as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_within_bounds(said in prop::collection::vec(any::<u8>(), 0..3000)) {
            if let Ok(line) = parse(&said) {
                prop_assert!(line.reason.len() <= WORDS_LEN_MAX && !line.reason.contains(char::is_control));
                prop_assert!(line.unknown.is_none_or(|word| word.len() <= WORDS_LEN_MAX));
            }
        }

        #[test]
        fn words_come_in_any_order(
            mut words in Just(vec!["up", "drain", "40%", "maxconn:7"]).prop_shuffle(),
            gap in "[ ,\t]{1,3}",
        ) {
            let said = words.join(&gap);
            let expected = AgentLine {
                weight: Some(AgentWeight::Percent(40)),
                maxconn: Some(7),
                admin: Some(AgentAdmin::Drain),
                health: Some(AgentHealth::Up),
                ..AgentLine::default()
            };
            prop_assert_eq!(line(&said), expected);
            words.clear();
        }
    }
}
