//! Fields as HPACK writes them (RFC 7541), judged before the framing library sees them.
//!
//! The library ends a whole connection for one field that no message may have, drops some that make a message malformed,
//! and has one code for every fault of compression. Here a fault of compression is told from a malformed message; and the
//! block of a malformed message is written anew, so that it does to the library's table what the peer's did to its own,
//! and costs its own stream alone (RFC 9113 section 8.1.1). Of the table only sizes and kinds are kept: what is said again
//! by its number costs next to nothing.

use h2::Reason;

use super::huffman;
use super::table::{Entry, TABLE_MAX, Table};

/// What a field counts beside its letters.
const FIELD_COSTS: usize = 32;
/// The library takes names that are shorter.
const NAME_MAX: usize = 0xffff;
/// An integer may have so many bytes behind its first (RFC 7541 section 5.1 leaves it to us; the library has the same).
const INTEGER_BYTES_MAX: usize = 4;
/// Most bytes of fields in one frame.
pub(super) const FRAME_MAX: usize = 16 * 1024;

/// `transfer-encoding: x` by the number of its name, not to be remembered: no message may have it, and the library knows.
const SPOILER: [u8; 4] = [0x0f, 57 - 15, 1, b'x'];
/// A field that is remembered, by the number of its name; with the name `:scheme`, which is as long as `:method` and
/// `:status` and takes any value; with `:status`.
const REMEMBERED: u8 = 0x40;
const REMEMBERED_SCHEME: u8 = 0x40 | 6;

/// What a field is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// One of a message.
    Plain,
    /// One of a connection, which HTTP/2 has not (RFC 9113 section 8.2.2).
    Connection,
    Te,
    Authority,
    Method,
    Path,
    Protocol,
    Scheme,
    Status,
}

impl Name {
    /// Its bit among pseudo-fields; 0: it is none.
    const fn bit(self) -> u8 {
        match self {
            Self::Plain | Self::Connection | Self::Te => 0,
            Self::Authority => 1,
            Self::Method => 2,
            Self::Path => 4,
            Self::Protocol => 8,
            Self::Scheme => 16,
            Self::Status => 32,
        }
    }

    /// Of a name in letters; `None`: no field may have it.
    fn of(text: &Text<'_>) -> Option<Self> {
        let begin = text.begin.get(..text.len).unwrap_or_default();
        match begin {
            b":authority" => return Some(Self::Authority),
            b":method" => return Some(Self::Method),
            b":path" => return Some(Self::Path),
            b":protocol" => return Some(Self::Protocol),
            b":scheme" => return Some(Self::Scheme),
            b":status" => return Some(Self::Status),
            _ if text.len == 0 || text.len >= NAME_MAX || text.has & NO_NAME > 0 => return None,
            _ => {}
        }
        Some(match begin {
            b"te" => Self::Te,
            b"upgrade" | b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" => Self::Connection,
            _ => Self::Plain,
        })
    }
}

/// Pseudo-fields that a request has.
const OF_REQUESTS: u8 = !Name::Status.bit();

/// What a byte may not be in.
const NO_NAME: u8 = 1;
const NO_VALUE: u8 = 2;
const NO_METHOD: u8 = 4;
/// It is part of a longer letter in UTF-8, if of any.
const NO_ASCII: u8 = 8;

static BYTES: [u8; 256] = bytes();

const fn bytes() -> [u8; 256] {
    let mut bytes = [0; 256];
    let mut n = 0;
    while n < 256 {
        let byte = n as u8;
        let token = matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
            || byte.is_ascii_alphanumeric();
        bytes[n] = if !token || byte.is_ascii_uppercase() { NO_NAME } else { 0 }
            | if (byte < b' ' && byte != b'\t') || byte == 0x7f { NO_VALUE } else { 0 }
            | if token { 0 } else { NO_METHOD }
            | if byte < 0x80 { 0 } else { NO_ASCII };
        n += 1;
    }
    bytes
}

/// A name or a value.
struct Text<'b> {
    /// As it stands in the block, with its length before it.
    whole: &'b [u8],
    raw: &'b [u8],
    in_code: bool,
    /// How long it is when it is read, and what its bytes may not be in.
    len: usize,
    has: u8,
    /// How it begins; zeros behind it.
    begin: [u8; 17],
}

impl Text<'_> {
    fn is_utf8(&self) -> bool {
        if !self.in_code {
            return std::str::from_utf8(self.raw).is_ok();
        }
        let mut text = Vec::with_capacity(self.len);
        huffman::read(self.raw, |symbol| text.push(symbol));
        std::str::from_utf8(&text).is_ok()
    }

    fn is_value_of(&self, name: Name) -> bool {
        match name {
            Name::Plain | Name::Connection => self.has & NO_VALUE == 0,
            Name::Te => self.len == 8 && self.begin.starts_with(b"trailers"),
            Name::Method => self.len > 0 && self.has & NO_METHOD == 0,
            Name::Status => self.status().is_some(),
            Name::Authority | Name::Path | Name::Protocol | Name::Scheme => {
                self.has & NO_VALUE == 0 && (self.has & NO_ASCII == 0 || self.is_utf8())
            }
        }
    }

    /// A status that an answer may have. To switch protocols is not one (RFC 9113 section 8.6).
    fn status(&self) -> Option<u16> {
        let digits = self.begin.get(..self.len).filter(|digits| digits.len() == 3)?;
        let status: u16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
        (digits[0].is_ascii_digit() && (100..=599).contains(&status) && status != 101).then_some(status)
    }
}

/// Reads a block.
struct Reader<'b> {
    block: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn peek(&self) -> Option<u8> {
        self.block.get(self.at).copied()
    }

    fn byte(&mut self) -> Result<u8, Reason> {
        let byte = self.peek().ok_or(Reason::COMPRESSION_ERROR)?;
        self.at += 1;
        Ok(byte)
    }

    /// An integer that begins with so many bits of a byte (RFC 7541 section 5.1).
    fn integer(&mut self, bits: u32) -> Result<usize, Reason> {
        let most = (1 << bits) - 1;
        let mut n = usize::from(self.byte()?) & most;
        if n < most {
            return Ok(n);
        }
        for nth in 0..INTEGER_BYTES_MAX {
            let byte = self.byte()?;
            n += usize::from(byte & 0x7f) << (7 * nth);
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(Reason::COMPRESSION_ERROR)
    }

    /// The letters of a text as they stand, and whether they are in Huffman's code (RFC 7541 section 5.2).
    fn letters(&mut self) -> Result<(&'b [u8], bool), Reason> {
        let in_code = self.peek().is_some_and(|byte| byte & 0x80 > 0);
        let len = self.integer(7)?;
        let raw = self.block.get(self.at..self.at + len).ok_or(Reason::COMPRESSION_ERROR)?;
        self.at += len;
        Ok((raw, in_code))
    }

    fn text(&mut self) -> Result<Text<'b>, Reason> {
        let from = self.at;
        let (raw, in_code) = self.letters()?;
        let whole = &self.block[from..self.at];
        let mut text = Text { whole, raw, in_code, len: raw.len(), has: 0, begin: [0; 17] };
        if in_code {
            text.len = 0;
            let sound = huffman::read(raw, |symbol| {
                if let Some(place) = text.begin.get_mut(text.len) {
                    *place = symbol;
                }
                text.len += 1;
                text.has |= BYTES[usize::from(symbol)];
            });
            return if sound { Ok(text) } else { Err(Reason::COMPRESSION_ERROR) };
        }
        text.has = raw.iter().fold(0, |has, byte| has | BYTES[usize::from(*byte)]);
        let known = raw.len().min(text.begin.len());
        text.begin[..known].copy_from_slice(&raw[..known]);
        Ok(text)
    }
}

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    RequestHead,
    /// The head of an answer; `ends`: nothing follows it.
    AnswerHead {
        ends: bool,
    },
    Trailers,
    /// Trailers of a request, or a head on a stream whose number was left out.
    Late,
    /// A head of an answer, or its trailers: which of both is not known.
    Answer,
}

/// What was seen of a block.
#[derive(Default)]
struct Seen {
    pseudo: u8,
    plain: bool,
    malformed: bool,
    interim: bool,
}

impl Seen {
    fn note(&mut self, name: Name, flawed: bool, interim: bool) {
        let bit = name.bit();
        let late_or_again = bit > 0 && (self.plain || self.pseudo & bit > 0);
        self.malformed |= flawed || late_or_again || name == Name::Connection;
        self.plain |= bit == 0;
        self.pseudo |= bit;
        self.interim |= interim;
    }

    /// True if no message has such a block (RFC 9113 sections 8.1 and 8.3).
    fn is_malformed(&self, stands: Block) -> bool {
        let is_answer = self.pseudo & Name::Status.bit() > 0;
        self.malformed
            || match stands {
                Block::RequestHead => is_answer,
                Block::AnswerHead { ends } => !is_answer || self.pseudo & OF_REQUESTS > 0 || (ends && self.interim),
                Block::Trailers | Block::Late => self.pseudo > 0,
                Block::Answer => self.pseudo & OF_REQUESTS > 0,
            }
    }
}

/// What is to be written instead of fields that the library would not read: each begins at the first number, and what
/// stands instead ends at the second.
#[derive(Default)]
struct Patches {
    places: Vec<(usize, usize)>,
    text: Vec<u8>,
}

/// What became of a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be shown as it is. `answered`: with the status that an answer has at last.
    Sound { answered: bool },
    /// It is no message's. This may be shown instead, cut into frames at these places: it has its table's part of what was
    /// said, and something that the library knows to be malformed.
    Malformed { block: Vec<u8>, cuts: Vec<usize> },
}

/// Judges the blocks of one peer, all of them and in their order. After a fault there is nothing to judge.
#[derive(Debug, Default)]
pub(super) struct Fields {
    table: Table,
}

impl Fields {
    /// Judges a block. `spoiled`: its message is malformed whatever it says.
    pub(super) fn judge(&mut self, block: &[u8], stands: Block, spoiled: bool) -> Result<Verdict, Reason> {
        let mut reader = Reader { block, at: 0 };
        let mut seen = Seen { malformed: spoiled, ..Seen::default() };
        let mut patches = Patches::default();
        let mut may_resize = true;
        while let Some(first) = reader.peek() {
            match first {
                0x80.. => {
                    let entry = self.table.get(reader.integer(7)?)?;
                    seen.note(entry.name, entry.flawed, entry.interim);
                }
                0x20..=0x3f => {
                    let size = reader.integer(5)?;
                    if !may_resize || size > TABLE_MAX {
                        return Err(Reason::COMPRESSION_ERROR);
                    }
                    self.table.room = size;
                    self.table.make_room(0);
                    continue;
                }
                _ => self.literal(&mut reader, first & REMEMBERED > 0, &mut seen, &mut patches)?,
            }
            may_resize = false;
        }
        if stands == Block::Late && seen.pseudo > 0 {
            // A malformed message at best, and at worst the fault of all of them (RFC 9113 section 5.1.1).
            return Err(Reason::PROTOCOL_ERROR);
        }
        if seen.is_malformed(stands) {
            return rewrite(block, &patches);
        }
        Ok(Verdict::Sound { answered: seen.pseudo & Name::Status.bit() > 0 && !seen.interim })
    }

    fn literal(
        &mut self,
        reader: &mut Reader<'_>,
        remembered: bool,
        seen: &mut Seen,
        patches: &mut Patches,
    ) -> Result<(), Reason> {
        let from = reader.at;
        let number = reader.integer(if remembered { 6 } else { 4 })?;
        let (said, name, known) = if number == 0 {
            let text = reader.text()?;
            let name = Name::of(&text);
            let known = Known { number, letters: text.whole, len: text.len, name, exists: name.is_some() };
            (name.unwrap_or(Name::Plain), name.is_some(), known)
        } else {
            let entry = self.table.get(number)?;
            // What the library knows by another name takes any value.
            let name = (!entry.renamed).then_some(entry.name);
            let len = usize::from(entry.name_len);
            (entry.name, !entry.renamed, Known { number, letters: &[], len, name, exists: len > 0 })
        };
        let value = reader.text()?;
        let flawed = !name || !value.is_value_of(said);
        let interim = said == Name::Status && value.begin[0] == b'1';
        seen.note(said, flawed, interim);
        if !remembered {
            return Ok(());
        }
        let renamed = flawed && {
            let renamed = known.replace(value.len, self.table.room, &mut patches.text)?;
            patches.places.push((from, patches.text.len()));
            renamed
        };
        let (size, name_len) = (known.len + value.len + FIELD_COSTS, known.len.min(TABLE_MAX) as u16);
        self.table.add(size, Entry { size: 0, name_len, name: said, flawed, renamed, interim });
        Ok(())
    }
}

/// The name of a field that is to be replaced.
struct Known<'b> {
    /// By which it was said; 0: in letters.
    number: usize,
    letters: &'b [u8],
    /// As the peer counts it.
    len: usize,
    /// What it means to the library; `None`: to it, it is no name, or means nothing.
    name: Option<Name>,
    /// The library has a name of that length for it, or takes its letters.
    exists: bool,
}

impl Known<'_> {
    /// Writes a field that the library takes, with a name and a value of the same lengths; true: with another name.
    fn replace(&self, value_len: usize, room: usize, out: &mut Vec<u8>) -> Result<bool, Reason> {
        let is_short = match self.name {
            Some(Name::Method) => value_len == 0,
            Some(Name::Status) => value_len != 3,
            _ => false,
        };
        if is_short {
            out.push(REMEMBERED_SCHEME);
            write_xs(value_len, out);
            return Ok(true);
        }
        if self.exists {
            write_integer(self.number, 6, REMEMBERED, out);
            out.extend_from_slice(self.letters);
            if self.name == Some(Name::Status) {
                out.extend_from_slice(b"\x03200");
            } else {
                write_xs(value_len, out);
            }
            return Ok(self.name.is_none());
        }
        out.push(REMEMBERED);
        if self.len + value_len + FIELD_COSTS > room {
            // Whatever it is, it only empties the table.
            write_xs(1, out);
            write_xs(room.saturating_sub(FIELD_COSTS), out);
        } else if self.len > 0 {
            write_xs(self.len, out);
            write_xs(value_len, out);
        } else {
            // Nothing that is so small can be remembered by the library.
            let rest = value_len.checked_sub(1).ok_or(Reason::PROTOCOL_ERROR)?;
            write_xs(1, out);
            write_xs(rest, out);
        }
        Ok(true)
    }
}

/// The block of a malformed message for the library: what changes its table, and what is known to be malformed at last.
/// Frames are cut within a field: the library then waits for the rest of it before it judges what it has.
fn rewrite(block: &[u8], patches: &Patches) -> Result<Verdict, Reason> {
    let mut reader = Reader { block, at: 0 };
    let mut out = Out::default();
    let (mut places, mut text_at) = (patches.places.iter(), 0);
    let mut next = places.next();
    while let Some(first) = reader.peek() {
        let from = reader.at;
        match first {
            0x80.. => _ = reader.integer(7)?,
            0x20..=0x3f => {
                reader.integer(5)?;
                out.field(&block[from..reader.at]);
            }
            _ => {
                let remembered = first & REMEMBERED > 0;
                if reader.integer(if remembered { 6 } else { 4 })? == 0 {
                    reader.letters()?;
                }
                reader.letters()?;
                match next {
                    Some((place, end)) if *place == from => {
                        out.field(&patches.text[text_at..*end]);
                        (next, text_at) = (places.next(), *end);
                    }
                    _ if remembered => out.field(&block[from..reader.at]),
                    _ => {}
                }
            }
        }
    }
    out.field(&SPOILER);
    Ok(Verdict::Malformed { block: out.block, cuts: out.cuts })
}

#[derive(Default)]
struct Out {
    block: Vec<u8>,
    cuts: Vec<usize>,
}

impl Out {
    fn field(&mut self, field: &[u8]) {
        self.block.extend_from_slice(field);
        loop {
            let most = self.cuts.last().unwrap_or(&0) + FRAME_MAX;
            if self.block.len() < most {
                return;
            }
            self.cuts.push(most.min(self.block.len() - 1));
        }
    }
}

/// A text of so many letters.
fn write_xs(len: usize, out: &mut Vec<u8>) {
    write_integer(len, 7, 0, out);
    out.resize(out.len() + len, b'x');
}

fn write_integer(n: usize, bits: u32, begin: u8, out: &mut Vec<u8>) {
    let most = (1 << bits) - 1;
    if n < most {
        return out.push(begin | n as u8);
    }
    out.push(begin | most as u8);
    let mut rest = n - most;
    while rest > 0x7f {
        out.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
#[path = "fields_tests.rs"]
mod tests;
