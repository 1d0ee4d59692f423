//! Reads JSON into a tree. YAML is almost JSON's superset, but the YAML scanner refuses a tab after a colon and
//! `\ud83d\ude00`, both of which ordinary JSON writers produce; hence a reader of its own, without recursion.

use super::build::{Builder, Stop};
use super::tree::{Place, Span};

/// Why a text is not JSON, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) message: &'static str,
}

/// How reading can end early: not JSON, or JSON that the builder refused.
#[derive(Debug)]
pub(super) enum Failure {
    Fault(Fault),
    Stop,
}

impl From<Stop> for Failure {
    fn from(_: Stop) -> Self {
        Self::Stop
    }
}

/// Reads one JSON value into `builder`.
pub(super) fn read(text: &str, builder: &mut Builder) -> Result<(), Failure> {
    Reader { rest: text, place: Place::START }.document(builder)
}

struct Reader<'t> {
    rest: &'t str,
    place: Place,
}

/// What may come next.
#[derive(Clone, Copy, PartialEq)]
enum Next {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    CommaOrEnd,
}

impl Reader<'_> {
    fn document(mut self, builder: &mut Builder) -> Result<(), Failure> {
        let mut closers: Vec<char> = Vec::new();
        let mut next = Next::Value;
        loop {
            self.blank();
            let start = self.place;
            match (next, self.peek()) {
                (Next::Value | Next::ValueOrEnd, Some(open @ ('{' | '['))) => {
                    self.take();
                    let span = Span { start, end: self.place };
                    (next, _) = match open {
                        '{' => (Next::KeyOrEnd, builder.open_map(span)?),
                        _ => (Next::ValueOrEnd, builder.open_list(span)?),
                    };
                    closers.push(if open == '{' { '}' } else { ']' });
                    continue;
                }
                (Next::ValueOrEnd | Next::KeyOrEnd | Next::CommaOrEnd, Some(c)) if closers.last() == Some(&c) => {
                    self.take();
                    closers.pop();
                    builder.close();
                }
                (Next::CommaOrEnd, Some(',')) => {
                    self.take();
                    next = if closers.last() == Some(&'}') { Next::Key } else { Next::Value };
                    continue;
                }
                (Next::Key | Next::KeyOrEnd, Some('"')) => {
                    let key = self.string()?;
                    builder.scalar(Span { start, end: self.place }, key, true)?;
                    self.blank();
                    if self.peek() != Some(':') {
                        return self.fault("expected `:` after a key");
                    }
                    self.take();
                    next = Next::Value;
                    continue;
                }
                (Next::Value | Next::ValueOrEnd, Some('"')) => {
                    let text = self.string()?;
                    builder.scalar(Span { start, end: self.place }, text, true)?;
                }
                (Next::Value | Next::ValueOrEnd, Some(c)) if c.is_ascii_alphanumeric() || c == '-' => {
                    let word = self.word()?;
                    builder.scalar(Span { start, end: self.place }, word, false)?;
                }
                (_, None) => return self.fault("the text ends too early: a bracket is not closed"),
                (Next::CommaOrEnd, _) => return self.fault("expected `,` or a closing bracket"),
                (Next::Key | Next::KeyOrEnd, _) => {
                    return self.fault("expected a key in double quotes");
                }
                (Next::Value | Next::ValueOrEnd, _) => return self.fault("expected a value"),
            }
            if closers.is_empty() {
                break;
            }
            next = Next::CommaOrEnd;
        }
        self.blank();
        if self.peek().is_some() { self.fault("nothing may follow the document") } else { Ok(()) }
    }

    /// `true`, `null`, `80`: what it means is decided with YAML's words.
    fn word(&mut self) -> Result<String, Failure> {
        let start = self.place;
        let mut word = String::new();
        while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.')) {
            word.push(c);
            self.take();
        }
        if super::scalar::resolve(&word) == super::scalar::Scalar::Text {
            return Err(Failure::Fault(Fault { place: start, message: "expected a value; text needs double quotes" }));
        }
        Ok(word)
    }

    fn string(&mut self) -> Result<String, Failure> {
        self.take();
        let mut text = String::new();
        loop {
            match self.peek() {
                Some('"') => {
                    self.take();
                    return Ok(text);
                }
                Some('\\') => {
                    self.take();
                    text.push(self.escape()?);
                }
                Some(c) if c >= ' ' => {
                    self.take();
                    text.push(c);
                }
                Some(_) => {
                    return self.fault("text may not go over the end of a line: write `\\n`");
                }
                None => return self.fault("the text ends inside quotes"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Failure> {
        let Some(c) = self.peek() else {
            return self.fault("the text ends inside quotes");
        };
        let plain = match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                self.take();
                return self.unicode();
            }
            _ => {
                return self.fault("unknown escape: JSON knows \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
            }
        };
        self.take();
        Ok(plain)
    }

    /// After `\u`: four hexadecimal digits, or two groups of them for a character beyond U+FFFF.
    fn unicode(&mut self) -> Result<char, Failure> {
        let first = self.four_digits()?;
        let code = match first {
            0xD800..=0xDBFF if self.rest.starts_with("\\u") => {
                self.take();
                self.take();
                match self.four_digits()? {
                    second @ 0xDC00..=0xDFFF => 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00),
                    _ => 0xD800,
                }
            }
            _ => first,
        };
        match char::from_u32(code) {
            Some(c) => Ok(c),
            None => self.fault("half of a surrogate pair is no character"),
        }
    }

    fn four_digits(&mut self) -> Result<u32, Failure> {
        let mut code = 0;
        for _ in 0..4 {
            match self.peek().and_then(|c| c.to_digit(16)) {
                Some(digit) => code = code * 16 + digit,
                None => return self.fault("`\\u` needs four hexadecimal digits"),
            }
            self.take();
        }
        Ok(code)
    }

    fn blank(&mut self) {
        while let Some(' ' | '\t' | '\n' | '\r') = self.peek() {
            self.take();
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) {
        let mut chars = self.rest.chars();
        if chars.next() == Some('\n') {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
        self.rest = chars.as_str();
    }

    fn fault<T>(&self, message: &'static str) -> Result<T, Failure> {
        Err(Failure::Fault(Fault { place: self.place, message }))
    }
}
