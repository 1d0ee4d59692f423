//! Reads YAML into a tree, from the scanner's events and marks.
//!
//! Refused although YAML has them: anchors, aliases and tags (a document says what it means where it stands), a
//! second document, keys that are lists or mappings. Scalars are keys by their text, so `503:` needs no quotes.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as Marks, StrInput};

use super::build::{Builder, Stop};
use super::tree::{Place, Span};

/// Reads one YAML document into `builder`. What is wrong is reported there.
pub(super) fn read(text: &str, builder: &mut Builder) -> Result<(), Stop> {
    let mut reader = Reader { lines: text.split('\n').collect(), builder, documents: 0, skipping: 0 };
    let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        match event {
            Ok((event, marks)) => reader.event(event, marks)?,
            Err(error) => {
                reader.syntax(&error);
                return Err(Stop);
            }
        }
    }
    if reader.documents == 0 {
        let span = Span::point(Place::START);
        reader.builder.mistake(span, "the document is empty", "it starts with `loadbalancer:`".to_owned());
        return Err(Stop);
    }
    Ok(())
}

struct Reader<'t, 'b> {
    lines: Vec<&'t str>,
    builder: &'b mut Builder,
    documents: usize,
    /// Open brackets of a key that is a list or mapping: nothing inside is kept.
    skipping: usize,
}

impl Reader<'_, '_> {
    fn event(&mut self, event: Event<'_>, marks: Marks) -> Result<(), Stop> {
        let span = self.span(marks);
        if self.skipping > 0 {
            return self.skip(&event, span);
        }
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    let help = "keep one load balancer in a document".to_owned();
                    self.builder.mistake(span, "a second document starts here", help);
                    return Err(Stop);
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_marks(anchor, tag.is_some(), span);
                self.scalar(&text, style, span)
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_marks(anchor, tag.is_some(), span);
                self.open(self.list_span(span), Builder::open_list)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_marks(anchor, tag.is_some(), span);
                self.open(span, Builder::open_map)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.builder.close();
                Ok(())
            }
            Event::Alias(_) => {
                self.refuse("aliases (`*name`) are not allowed", span);
                if self.builder.wants_key() {
                    return self.builder.lost_key(span);
                }
                self.builder.rejected(span)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> Result<(), Stop> {
        let quoted = style != ScalarStyle::Plain;
        if self.builder.wants_key() && !quoted && text.is_empty() {
            self.builder.mistake(span, "a key is missing here", None);
            return self.builder.lost_key(span);
        }
        self.builder.scalar(span, text.to_owned(), quoted)
    }

    fn open(&mut self, span: Span, open: fn(&mut Builder, Span) -> Result<(), Stop>) -> Result<(), Stop> {
        if self.builder.wants_key() {
            self.builder.mistake(span, "a key must be a word, not a list or a mapping", None);
            self.skipping = 1;
            return Ok(());
        }
        open(self.builder, span)
    }

    fn skip(&mut self, event: &Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => self.skipping += 1,
            Event::SequenceEnd | Event::MappingEnd => self.skipping -= 1,
            _ => {}
        }
        if self.skipping == 0 {
            return self.builder.lost_key(span);
        }
        Ok(())
    }

    fn refuse_marks(&mut self, anchor: usize, tagged: bool, span: Span) {
        if anchor != 0 {
            self.refuse("anchors (`&name`) are not allowed", span);
        }
        if tagged {
            self.refuse("tags (`!name`) are not allowed", span);
        }
    }

    fn refuse(&mut self, message: &str, span: Span) {
        self.builder.mistake(span, message, "write the value itself here".to_owned());
    }

    fn syntax(&mut self, error: &ScanError) {
        let mut place = self.place(*error.marker());
        let (message, help) = match error.info() {
            info if info.contains("tab") && self.tab_indentation(place).is_some() => {
                // The scanner marks where the value before began.
                place = self.tab_indentation(place).unwrap_or(place);
                ("a tab in the indentation".to_owned(), Some("indent with spaces".to_owned()))
            }
            "while parsing node, found unknown anchor" => {
                return self.refuse("aliases (`*name`) are not allowed", Span::point(place));
            }
            "mapping values are not allowed in this context" => (
                "a second `:` in one value".to_owned(),
                Some("put text that holds `: ` or ends with `:` in quotes, or start a new line".to_owned()),
            ),
            "recursion limit exceeded" => (format!("nested deeper than {} levels", super::DEPTH_MAX), None),
            info => (format!("this is not YAML: {info}"), None),
        };
        self.builder.mistake(Span::point(place), message, help);
    }

    /// The first tab before the first word of a line, from `from` on.
    fn tab_indentation(&self, from: Place) -> Option<Place> {
        self.lines.iter().enumerate().skip(from.line - 1).find_map(|(index, line)| {
            let blank = line.chars().take_while(|c| c.is_whitespace());
            let column = blank.enumerate().find(|(_, c)| *c == '\t')?.0;
            Some(Place { line: index + 1, column: column + 1 })
        })
    }

    /// A list whose dashes stand under its key has a mark after the first dash; the dash itself is its place.
    fn list_span(&self, span: Span) -> Span {
        match self.builder.pending_key_end() {
            Some(end) if span.is_empty() => self.first_dash(end).map_or(span, Span::point),
            _ => span,
        }
    }

    fn first_dash(&self, after: Place) -> Option<Place> {
        let mut skipped = after.column - 1;
        for (index, line) in self.lines.iter().enumerate().skip(after.line - 1) {
            for (column, c) in line.chars().enumerate().skip(skipped) {
                match c {
                    '-' => {
                        return Some(Place { line: index + 1, column: column + 1 });
                    }
                    '#' => break,
                    _ if c.is_whitespace() || c == ':' => {}
                    _ => return None,
                }
            }
            skipped = 0;
        }
        None
    }

    fn span(&self, marks: Marks) -> Span {
        Span { start: self.place(marks.start), end: self.place(marks.end) }
    }

    /// The scanner counts columns from 0, and a line more than there is when the last one has no end.
    fn place(&self, marker: Marker) -> Place {
        match self.lines.get(marker.line().saturating_sub(1)) {
            Some(_) => Place { line: marker.line().max(1), column: marker.col() + 1 },
            None => {
                let last = self.lines.last().map_or(0, |line| line.chars().count());
                Place { line: self.lines.len(), column: last + 1 }
            }
        }
    }
}
