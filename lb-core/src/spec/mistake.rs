//! Collecting what is wrong with a document, and drawing it with the lines it stands in.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};
use serde::{Deserialize, Serialize};

use super::tree::{Place, Span, Spot};
use super::{DRAWN_MAX, MISTAKES_MAX};

/// One thing wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    /// Where in the tree: `loadbalancer.listeners[0].protocol_port`.
    pub path: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right, with a "did you mean" where one is near.
    pub help: Option<String>,
}

/// Why a document was refused: everything found in one pass, in the order of the text. Never empty.
///
/// A document with more than [`MISTAKES_MAX`] mistakes lists that many, and the last line of `rendered` says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rendered}")]
pub struct Mistakes {
    /// In the order of the text.
    pub mistakes: Vec<Mistake>,
    /// All of them drawn with the lines they stand in: `file:line:column`, a caret, the help.
    pub rendered: String,
}

/// Mistakes found so far, in any order. Keeps [`MISTAKES_MAX`] and counts the rest.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<(Span, Mistake)>,
    dropped: usize,
}

impl Findings {
    pub(super) fn push(&mut self, spot: Spot, message: impl Into<String>, help: impl Into<Option<String>>) {
        if self.is_full() {
            self.dropped += 1;
            return;
        }
        let Place { line, column } = spot.span.start;
        let mistake = Mistake { path: spot.path, line, column, message: message.into(), help: help.into() };
        self.kept.push((spot.span, mistake));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// True if another mistake would only be counted: no need to think about its words.
    pub(super) fn is_full(&self) -> bool {
        self.kept.len() >= MISTAKES_MAX
    }

    /// The furthest place a mistake stands at.
    pub(super) fn last_place(&self) -> Option<Place> {
        self.kept.iter().map(|(span, _)| span.start).max()
    }

    /// Puts them in the order of the text and draws them.
    pub(super) fn into_mistakes(mut self, origin: &str, text: &str) -> Mistakes {
        debug_assert!(!self.kept.is_empty(), "a document is refused for a reason");
        self.kept.sort_by_key(|(span, _)| span.start);
        let lines: Vec<&str> = text.split('\n').collect();
        let mut rendered = String::new();
        for (span, mistake) in self.kept.iter().take(DRAWN_MAX) {
            let line = lines.get(mistake.line.saturating_sub(1)).copied().unwrap_or_default();
            draw(&mut rendered, origin, line, *span, mistake);
        }
        let more = self.dropped + self.kept.len().saturating_sub(DRAWN_MAX);
        if more > 0 {
            let _ = writeln!(rendered, "and {more} more mistakes, not drawn");
        }
        Mistakes { mistakes: self.kept.into_iter().map(|(_, mistake)| mistake).collect(), rendered }
    }
}

/// An operator's word inside a message: in backquotes, one line, cut when long.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_MAX).map(printable).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

fn draw(out: &mut String, origin: &str, line: &str, span: Span, mistake: &Mistake) {
    let excerpt = Excerpt::of(line, span);
    let annotation = AnnotationKind::Primary.span(excerpt.caret);
    let snippet = Snippet::source(excerpt.text).line_start(mistake.line).annotation(annotation);
    let place: Vec<Element<'_>> = if excerpt.cut {
        // Columns of a cut line would be counted from the cut: the header is written by hand.
        let header = Origin::path(origin).line(mistake.line).char_column(mistake.column);
        vec![header.into(), snippet.into()]
    } else {
        vec![snippet.path(origin).into()]
    };
    let title = Group::with_title(Level::ERROR.primary_title(mistake.message.as_str())).elements(place);
    let group = match &mistake.help {
        Some(help) => title.element(Level::HELP.message(help.as_str())),
        None => title,
    };
    out.push_str(&Renderer::plain().render(&[group]));
    out.push_str("\n\n");
}

/// The line of a mistake, or the part around it when the line is long.
struct Excerpt {
    text: String,
    /// In bytes of `text`.
    caret: Range<usize>,
    cut: bool,
}

impl Excerpt {
    fn of(line: &str, span: Span) -> Self {
        let line = line.trim_start_matches('\u{FEFF}').trim_end_matches('\r');
        let column = span.start.column - 1;
        let cut = line.chars().nth(LINE_MAX).is_some();
        let skipped = if cut { column.saturating_sub(LINE_MAX / 3) } else { 0 };
        let chars: Vec<char> = line.chars().skip(skipped).take(LINE_MAX).map(printable).collect();
        let from = (column - skipped).min(chars.len());
        // What goes on in the next line is underlined up to the end of this one.
        let end = if span.end.line == span.start.line { span.end.column - 1 } else { usize::MAX };
        let to = end.saturating_sub(skipped).clamp(from, chars.len());
        let bytes = |chars: &[char]| chars.iter().map(|c| c.len_utf8()).sum::<usize>();
        Self { caret: bytes(&chars[..from])..bytes(&chars[..to]), text: chars.into_iter().collect(), cut }
    }
}

fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        _ if c.is_control() => '\u{FFFD}',
        _ => c,
    }
}

/// Longest word of the document repeated in a message.
const SHOWN_MAX: usize = 60;
/// Longest line drawn whole; of a longer one (JSON on one line) the part around the mistake is.
const LINE_MAX: usize = 120;
