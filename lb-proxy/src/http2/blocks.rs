//! Which frames are held back until they are whole, and what the framing library is shown instead of them: blocks of
//! fields ([`Fields`]), and windows that a peer opens by nothing.

use h2::Reason;

use super::fields::{Block, Fields, Verdict};
use super::law::{
    CONTINUATION, END_HEADERS, END_STREAM, HEAD, HEADERS, PRIORITY, PUSH_PROMISE, Side, WINDOW_UPDATE, parts,
};
use crate::http::h1::HEAD_MAX;

/// Flags of HEADERS: padding, and a priority, come with the fields.
const PADDED: u8 = 8;
const PRIORITIZED: u8 = 0x20;
/// Bytes of a priority.
const PRIORITY_LEN: usize = 5;
/// Bytes of one block as it is sent, over all its frames. The library ends the connection for a list that is so long when
/// it is read.
const BLOCK_MAX: usize = 4 * HEAD_MAX;
/// Frames a block may go on in without ending: as many as the library takes.
const CONTINUED_MAX: u8 = 5;
/// Streams of a member whose answers have begun, by their numbers.
const ANSWERED_KNOWN: usize = 128;

/// A block that is under way.
#[derive(Clone, Copy, Debug)]
struct Open {
    stream: u32,
    bytes: usize,
    continued: u8,
    /// The frame that is under way is its last.
    ends: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Blocks {
    fields: Fields,
    open: Option<Open>,
    seen: Streams,
}

/// What tells heads from trailers.
#[derive(Debug)]
enum Streams {
    /// The next stream that the client may open, and whether it has left numbers out.
    OfClient { next: u32, skipped: bool },
    /// Streams on which a head came, each in a place of its own that later ones share.
    OfMember(Box<[u32; ANSWERED_KNOWN]>),
}

impl Streams {
    fn stands(&mut self, stream: u32, ends: bool) -> Block {
        match self {
            Self::OfClient { next, skipped } if stream >= *next => {
                *skipped |= stream > *next;
                *next = stream + 2;
                Block::RequestHead
            }
            Self::OfClient { skipped: true, .. } => Block::Late,
            Self::OfClient { .. } => Block::Trailers,
            Self::OfMember(answered) => match answered[place(stream)].cmp(&stream) {
                std::cmp::Ordering::Equal => Block::Trailers,
                std::cmp::Ordering::Less => Block::AnswerHead { ends },
                std::cmp::Ordering::Greater => Block::Answer,
            },
        }
    }

    fn answered(&mut self, stream: u32) {
        if let Self::OfMember(answered) = self {
            let place = &mut answered[place(stream)];
            *place = stream.max(*place);
        }
    }
}

/// Requests have odd numbers.
fn place(stream: u32) -> usize {
    (stream >> 1) as usize % ANSWERED_KNOWN
}

impl Blocks {
    /// What comes from there.
    pub(super) fn of(side: Side) -> Self {
        let seen = match side {
            Side::Client => Streams::OfClient { next: 1, skipped: false },
            Side::Member => Streams::OfMember(Box::new([0; ANSWERED_KNOWN])),
        };
        Self { fields: Fields::default(), open: None, seen }
    }

    /// True while a block is under way.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A frame begins; true: it is to be held back until it is whole.
    pub(super) fn head(&mut self, head: [u8; HEAD]) -> Result<bool, Reason> {
        let (len, kind, flags, stream) = parts(head);
        let ends = flags & END_HEADERS > 0;
        if let Some(open) = &mut self.open {
            if kind != CONTINUATION || stream != open.stream {
                return Err(Reason::PROTOCOL_ERROR);
            }
            open.bytes += len;
            open.continued += u8::from(!ends);
            open.ends = ends;
            if open.bytes > BLOCK_MAX || open.continued > CONTINUED_MAX {
                return Err(Reason::ENHANCE_YOUR_CALM);
            }
            return Ok(true);
        }
        match kind {
            // Nobody may push to us, and streams of clients have odd numbers.
            CONTINUATION | PUSH_PROMISE => Err(Reason::PROTOCOL_ERROR),
            HEADERS if stream % 2 == 0 => Err(Reason::PROTOCOL_ERROR),
            HEADERS => {
                self.open = Some(Open { stream, bytes: len, continued: 0, ends });
                Ok(true)
            }
            WINDOW_UPDATE => Ok(match self.seen {
                // One that was never opened has no window at all, which the library knows.
                Streams::OfClient { next, skipped } => stream % 2 == 1 && stream < next && !skipped,
                Streams::OfMember(_) => stream % 2 == 1,
            }),
            _ => Ok(false),
        }
    }

    /// True if more is needed once the frame that is held back is whole.
    pub(super) fn goes_on(&self) -> bool {
        self.open.is_some_and(|open| !open.ends)
    }

    /// Frames that were held back are whole. What is to be shown instead of them, if anything is.
    pub(super) fn judge(&mut self, frames: &[u8]) -> Result<Option<Vec<u8>>, Reason> {
        let mut frames = frames;
        let Some((head, payload)) = next(&mut frames) else { return Ok(None) };
        let (_, kind, flags, stream) = parts(head);
        if kind == WINDOW_UPDATE {
            let opens_nothing =
                payload.iter().enumerate().all(|(at, byte)| byte & if at == 0 { 0x7f } else { 0xff } == 0);
            return Ok(opens_nothing.then(|| end_stream(stream)));
        }
        self.open = None;
        let (fields, depends_on_itself) = strip(flags, stream, payload)?;
        let stands = self.seen.stands(stream, flags & END_STREAM > 0);
        let verdict = if flags & END_HEADERS > 0 {
            self.fields.judge(fields, stands, depends_on_itself)
        } else {
            let mut block = fields.to_vec();
            while let Some((_, payload)) = next(&mut frames) {
                block.extend_from_slice(payload);
            }
            self.fields.judge(&block, stands, depends_on_itself)
        };
        match verdict? {
            Verdict::Sound { answered } => {
                if answered {
                    self.seen.answered(stream);
                }
                Ok(None)
            }
            Verdict::Malformed { block, cuts } => Ok(Some(cut(stream, flags & END_STREAM, &block, &cuts))),
        }
    }
}

/// The first of some whole frames.
fn next<'f>(frames: &mut &'f [u8]) -> Option<([u8; HEAD], &'f [u8])> {
    let (head, rest) = frames.split_first_chunk()?;
    let (payload, rest) = rest.split_at_checked(parts(*head).0)?;
    *frames = rest;
    Some((*head, payload))
}

/// The fields in a frame of HEADERS (RFC 9113 section 6.2), and whether its stream is said to depend on itself: the library
/// would pass over the fields of such a one.
fn strip(flags: u8, stream: u32, payload: &[u8]) -> Result<(&[u8], bool), Reason> {
    let (mut fields, mut padding, mut depends_on_itself) = (payload, 0, false);
    if flags & PADDED > 0 {
        let (len, rest) = fields.split_first().ok_or(Reason::FRAME_SIZE_ERROR)?;
        (fields, padding) = (rest, usize::from(*len));
    }
    if flags & PRIORITIZED > 0 {
        let ([a, b, c, d, _], rest) = fields.split_first_chunk::<PRIORITY_LEN>().ok_or(Reason::FRAME_SIZE_ERROR)?;
        depends_on_itself = u32::from_be_bytes([a & 0x7f, *b, *c, *d]) == stream;
        fields = rest;
    }
    let len = fields.len().checked_sub(padding).ok_or(Reason::PROTOCOL_ERROR)?;
    Ok((&fields[..len], depends_on_itself))
}

/// A block in frames.
fn cut(stream: u32, end: u8, block: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut frames = Vec::with_capacity(block.len() + (cuts.len() + 1) * HEAD);
    let (mut kind, mut end, mut from) = (HEADERS, end, 0);
    for until in cuts.iter().chain([&block.len()]) {
        let piece = &block[from..*until];
        let flags = if *until == block.len() { end | END_HEADERS } else { end };
        write_head(piece.len(), kind, flags, stream, &mut frames);
        frames.extend_from_slice(piece);
        (kind, end, from) = (CONTINUATION, 0, *until);
    }
    frames
}

/// The library resets a stream with PROTOCOL_ERROR that is said to depend on itself; for a window that is opened by
/// nothing, it would end the connection (RFC 9113 section 6.9 asks for the stream alone).
fn end_stream(stream: u32) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD + PRIORITY_LEN);
    write_head(PRIORITY_LEN, PRIORITY, 0, stream, &mut frame);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.push(0);
    frame
}

fn write_head(len: usize, kind: u8, flags: u8, stream: u32, out: &mut Vec<u8>) {
    let [.., a, b, c] = len.to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
}
