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
