//! Reading a request's head: until its empty line, judged on the way, within the listener's bounds.

use lb_core::config::limits::HeadLimits;

use super::h1::fields::Field;
use super::h1::head_end;
use super::h1::request::{self, Malformed, RequestHead};
use crate::buffer::{Buffer, LentSheet};
use crate::timer::Patience;
use crate::wire::{self, Stream};

/// Empty lines that are skipped before a request (RFC 9112 section 2.2 asks for at least one).
const BLANK_LINES_MAX: usize = 4;

/// Why there is no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadFailure {
    /// It is no request, or too large a one.
    Malformed(Malformed),
    /// The client left before it was whole.
    Left,
}

/// How far a head that is still coming has been looked at.
#[derive(Debug, Default)]
pub struct Search {
    searched: usize,
    judged: usize,
    blank_lines: usize,
}

/// Reads until the head at the front of `buffer` is whole, and judges it. Nothing beyond `limits` is waited for.
pub async fn read_head(
    from: &Stream,
    buffer: &mut Buffer,
    sheet: &mut LentSheet,
    search: &mut Search,
    limits: HeadLimits,
    patience: Patience<'_>,
) -> Result<RequestHead, HeadFailure> {
    loop {
        if let Some(head) = search.look(buffer, sheet, limits).map_err(HeadFailure::Malformed)? {
            return Ok(head);
        }
        buffer.make_room();
        match wire::fill(from, buffer, usize::MAX, patience).await {
            Ok(n) if n > 0 => {}
            _ => return Err(HeadFailure::Left),
        }
    }
}

/// Judges a whole head, which ends with its empty line. `fields` is cleared and filled with its fields.
pub fn judge(head: &[u8], fields: &mut Vec<Field>, limits: HeadLimits) -> Result<RequestHead, Malformed> {
    if head.len() > usize::from(limits.size) {
        return Err(too_large(head, limits));
    }
    let request = request::parse(head, fields).map_err(|bad| which(bad, head, limits))?;
    if request.target.len() > usize::from(limits.target) {
        return Err(Malformed::TargetTooLong);
    }
    if fields.len() > usize::from(limits.fields) {
        return Err(Malformed::TooLarge);
    }
    Ok(request)
}

/// What is wrong with a head that is too large, or with what has come of it: its target, if that alone is too long or its line does not
/// fit (RFC 9112 section 3, RFC 9110 section 15.5.15), else the whole of it. So it does not matter in which pieces it came.
fn too_large(head: &[u8], limits: HeadLimits) -> Malformed {
    let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
    let target = line.split(|b| *b == b' ').nth(1).unwrap_or_default();
    let target = target.strip_suffix(b"\r").unwrap_or(target);
    let is_line = target.len() > usize::from(limits.target) || line.len() >= usize::from(limits.size);
    if is_line { Malformed::TargetTooLong } else { Malformed::TooLarge }
}

fn which(bad: Malformed, head: &[u8], limits: HeadLimits) -> Malformed {
    if bad == Malformed::TooLarge { too_large(head, limits) } else { bad }
}

impl Search {
    /// Parses the head if it is whole; judges its beginning if it is not.
    fn look(
        &mut self,
        buffer: &mut Buffer,
        sheet: &mut LentSheet,
        limits: HeadLimits,
    ) -> Result<Option<RequestHead>, Malformed> {
        while buffer.filled().starts_with(b"\r\n") {
            buffer.consume(2);
            self.blank_lines += 1;
            if self.blank_lines > BLANK_LINES_MAX {
                return Err(Malformed::Syntax);
            }
        }
        if let Some(len) = head_end(buffer.filled(), self.searched) {
            return judge(&buffer.filled()[..len], &mut sheet.fields, limits).map(Some);
        }
        self.searched = buffer.len();
        // Judged again each time its length has doubled: a head that drips costs linear work in all.
        if self.searched > 2 * self.judged {
            request::check_beginning(buffer.filled()).map_err(|bad| which(bad, buffer.filled(), limits))?;
            self.judged = self.searched;
        }
        if self.searched >= usize::from(limits.size) {
            return Err(too_large(buffer.filled(), limits));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::buffer::Buffers;

    /// What becomes of `head` if it comes in pieces of `piece` bytes.
    fn judged(head: &[u8], piece: usize, limits: HeadLimits) -> Result<usize, Malformed> {
        let buffers = Rc::new(Buffers::default());
        let (mut buffer, mut sheet, mut search) = (buffers.lend(), buffers.lend_sheet(), Search::default());
        for part in head.chunks(piece) {
            buffer.room()[..part.len()].copy_from_slice(part);
            buffer.fill(part.len());
            if let Some(request) = search.look(&mut buffer, &mut sheet, limits)? {
                return Ok(request.len);
            }
        }
        panic!("a head without an end");
    }

    #[test]
    fn a_refusal_does_not_depend_on_how_the_head_came() {
        let with = |target: usize, value: usize| {
            let (target, value) = ("t".repeat(target - 1), "v".repeat(value));
            format!("GET /{target} HTTP/1.1\r\nHost: a\r\nX: {value}\r\n\r\n").into_bytes()
        };
        let many = |target: usize| {
            let (target, fields) = ("t".repeat(target - 1), "A: b\r\n".repeat(200));
            format!("GET /{target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
        };
        let small = HeadLimits { size: 2048, fields: 20, target: 256 };
        let all = HeadLimits::default();
        for (limits, head, wanted) in [
            (small, with(256, 1), Ok(())),
            (small, with(257, 1), Err(Malformed::TargetTooLong)),
            (small, with(2900, 1), Err(Malformed::TargetTooLong)),
            (small, with(256, 3000), Err(Malformed::TooLarge)),
            (small, with(257, 3000), Err(Malformed::TargetTooLong)),
            (small, many(100), Err(Malformed::TooLarge)),
            (small, many(300), Err(Malformed::TargetTooLong)),
            (all, with(12_288, 1), Ok(())),
            (all, with(12_289, 1), Err(Malformed::TargetTooLong)),
            (all, with(15_000, 1), Err(Malformed::TargetTooLong)),
            (all, with(15_350, 1), Err(Malformed::TargetTooLong)),
            (all, with(20_000, 1), Err(Malformed::TargetTooLong)),
            (all, with(12_288, 8000), Err(Malformed::TooLarge)),
            (all, [vec![b'A'; 16_000], b" / HTTP/1.1\r\n\r\n".to_vec()].concat(), Err(Malformed::TargetTooLong)),
            (all, many(12_400), Err(Malformed::TargetTooLong)),
        ] {
            for piece in [head.len(), 1, 100, 1448, 15_360] {
                let judged = judged(&head, piece, limits).map(|len| assert_eq!(len, head.len()));
                assert_eq!(judged, wanted, "{} bytes by {piece}", head.len());
            }
        }
    }
}
