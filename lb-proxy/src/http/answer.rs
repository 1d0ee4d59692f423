//! A member's answer on its way to the client: interim heads, the final head, the body.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use lb_core::persistence::Answered;
use tokio::time::Instant;

use super::body::{Broken, Pump};
use super::date;
use super::h1::fields::Kind;
use super::h1::request::{Method, RequestHead};
use super::h1::response::{self, Added, BadAnswer, ConnectionWord, ResponseHead};
use super::h1::{Framing, HEAD_MAX, fields::Span, head_end, upgrade};
use super::policy::Changed;
use crate::buffer::{BUFFER_LEN, Buffer, Buffers, LentSheet, Sheet};
use crate::clock;
use crate::persistence::Remembered;
use crate::timer::{Deadlines, Patience, Wait};
use crate::wire::{self, Stream};

/// Most interim answers to one request; more is an attack or a loop.
pub(super) const INTERIM_MAX: u32 = 32;
/// So many times the patience with a silent member is what all interim answers together are waited for. Each of them shows that the
/// member works, and is a reason to wait on: whoever says so every 20 s, as RFC 2518 section 10.1 asks, has minutes. None is a reason to
/// wait for ever.
const INTERIM_PATIENCE: u32 = 10;
/// Bytes read at once of an answer to a stream, until its head is whole: a client may have room for nothing on a hundred streams, and what was
/// read beside the head stays here until it has. What comes later is read when that has gone. With the allocator's own word before it, two
/// pages.
const STREAM_FIRST: usize = 8 * 1024 - 64;

/// What is known of an exchange while it runs; its log line is made of this.
#[derive(Debug, Default)]
pub struct Told {
    /// A byte of an answer came: the request must not be sent again.
    pub any_byte: Cell<bool>,
    /// The final head goes out to the client: no refusal can be sent any more.
    pub client_told: Cell<bool>,
    /// Status of the head that the client is sent or is to be, 0 for none yet.
    pub status: Cell<u16>,
    /// When the final head was there.
    pub head_at: Cell<Option<std::time::Instant>>,
    /// The head as HAProxy's `%B` counts it.
    pub head_counted: Cell<u64>,
    /// Bytes of the heads that went out to the client.
    pub head_bytes: Cell<u64>,
    /// What the end of its chunks adds to that.
    pub end_counted: Cell<u64>,
    /// Bytes of the answer's body.
    pub body_out: Cell<u64>,
    /// Bytes of the request's body.
    pub body_in: Cell<u64>,
    /// The member's connection can take another request.
    pub member_reusable: Cell<bool>,
    /// The client was too slow, in this.
    pub too_slow: Cell<Option<Wait>>,
    /// What was done to the cookie by which its client is remembered.
    pub remembered: Cell<Answered>,
}

/// An answer that did not get through.
#[derive(Debug)]
pub enum Failed {
    /// The member closed or reset before any byte.
    Closed,
    /// It closed or reset within the head.
    ClosedInHead,
    /// It has this status, and the request is sent once more instead.
    Declined(u16),
    /// It cannot be passed on.
    Bad(BadAnswer),
    /// Its body broke, either at the member's end or at the client's.
    Body(Broken),
    /// The client is gone.
    Client,
}

/// An answer that got through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// The member's connection can take another request.
    pub member_reusable: bool,
    /// The client's connection can.
    pub client_reusable: bool,
    /// The member sent more than the answer.
    pub surplus: bool,
    /// Both sides go on in another protocol.
    pub switched: bool,
}

/// How long a head that did not come in one piece may take.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    /// An interim head came before it.
    interim: bool,
    /// When this head has to be whole, once somebody waits for the rest of it.
    by: Option<Instant>,
    /// When the final one has to be, once somebody waits behind an interim one.
    last: Option<Instant>,
}

impl Waiting {
    /// Until when the head is waited for, if a member may be silent for `ms`; 0: for ever.
    fn until(&mut self, ms: u64) -> Option<Instant> {
        if ms == 0 {
            return None;
        }
        let (now, patience) = (clock::now(), Duration::from_millis(ms));
        if self.interim {
            self.last.get_or_insert(now + patience.saturating_mul(INTERIM_PATIENCE));
        }
        let by = *self.by.get_or_insert(now + patience);
        Some(self.last.map_or(by, |last| by.min(last)))
    }
}

/// Passes one answer on.
pub struct Answer<'a> {
    /// What it answers.
    pub request: &'a RequestHead,
    /// What else than HTTP the request asks for.
    pub asked: Option<&'a [u8]>,
    /// May the client send another request after this one? Asked when the head goes out.
    pub keep_client: &'a dyn Fn() -> bool,
    /// What policies change of it; `None`: nothing.
    pub changed: Option<&'a Changed<'a>>,
    /// True if an answer of that status is not to be passed on.
    pub decline: &'a dyn Fn(u16) -> bool,
    /// Waiting for the head.
    pub head_patience: Patience<'a>,
    /// Waiting for the body.
    pub body_patience: Patience<'a>,
    /// Waiting for the client to take it.
    pub client: Patience<'a>,
    /// Notes.
    pub told: &'a Told,
    /// What browsers are told of it.
    pub strict_transport: Option<&'a str>,
    /// Memory.
    pub buffers: &'a Rc<Buffers>,
    /// Whose client it is, if its pool remembers that.
    pub remembered: Option<Remembered<'a>>,
}

impl Answer<'_> {
    /// Reads from the member and writes to the client until the answer has been passed on whole.
    pub async fn pass(&self, from: &Stream, to: &Stream) -> Result<Passed, Failed> {
        // It gets its memory when there is something to read.
        let mut buffer = self.buffers.none();
        let mut sheet = self.buffers.lend_sheet();
        let head = self.final_head(from, to, &mut buffer, &mut sheet).await?;
        if (self.decline)(head.status) {
            return Err(Failed::Declined(head.status));
        }
        if head.status == 101 {
            return Box::pin(self.switch(&head, to, buffer, sheet)).await;
        }
        if to.takes_only_a_switch() && matches!(head.status, 200..=299) {
            return Err(Failed::Bad(BadAnswer::NotSwitched));
        }
        let client_reusable = self.write_head(&head, None, &buffer, &mut sheet);
        buffer.consume(head.len);
        self.pass_body(&head, from, to, &mut buffer, &sheet.out).await.map_err(|broken| self.broken(broken))?;
        let surplus = !buffer.is_empty();
        Ok(Passed { member_reusable: head.keep_alive && !surplus, client_reusable, surplus, switched: false })
    }

    /// A body broke. If nothing of its head went out either, there was no answer.
    fn broken(&self, broken: Broken) -> Failed {
        if !self.told.client_told.get() {
            self.told.head_at.set(None);
            self.told.remembered.set(Answered::default());
        }
        Failed::Body(broken)
    }

    /// Passes a 101 on, with what the member says behind it, if it is one that was asked for.
    async fn switch(
        &self,
        head: &ResponseHead,
        to: &Stream,
        mut buffer: Buffer,
        mut sheet: LentSheet,
    ) -> Result<Passed, Failed> {
        let bytes = &buffer.filled()[..head.len];
        let agreed = self.asked.and_then(|asked| upgrade::agreed(asked, bytes, &sheet.fields));
        let protocol = agreed.ok_or(Failed::Bad(BadAnswer::UnsolicitedSwitch))?;
        if to.wants_proof().is_some_and(|accept| !upgrade::proves(&accept, bytes, &sheet.fields)) {
            return Err(Failed::Bad(BadAnswer::UnprovenSwitch));
        }
        self.write_head(head, Some(protocol), &buffer, &mut sheet);
        buffer.consume(head.len);
        self.told.client_told.set(true);
        let mut parts = [IoSlice::new(&sheet.out), IoSlice::new(buffer.filled())];
        wire::write_all(to, &mut parts, self.client).await.map_err(|_| Failed::Client)?;
        self.told.head_bytes.set(self.told.head_bytes.get() + sheet.out.len() as u64);
        self.told.body_out.set(buffer.len() as u64);
        Ok(Passed { member_reusable: false, client_reusable: false, surplus: false, switched: true })
    }

    async fn final_head(
        &self,
        from: &Stream,
        to: &Stream,
        buffer: &mut Buffer,
        sheet: &mut Sheet,
    ) -> Result<ResponseHead, Failed> {
        let mut waiting = Waiting::default();
        let most = if to.is_of_http2() { STREAM_FIRST } else { usize::MAX };
        for _ in 0..=INTERIM_MAX {
            let head = self.head(from, most, buffer, sheet, &mut waiting).await?;
            match head.status {
                101 => return Ok(head),
                100..=199 => {
                    self.interim(&head, to, buffer, sheet).await.map_err(|_| Failed::Client)?;
                    waiting = Waiting { interim: true, by: None, ..waiting };
                }
                _ => return Ok(head),
            }
        }
        Err(Failed::Bad(BadAnswer::TooManyInterim))
    }

    async fn head(
        &self,
        from: &Stream,
        most: usize,
        buffer: &mut Buffer,
        sheet: &mut Sheet,
        waiting: &mut Waiting,
    ) -> Result<ResponseHead, Failed> {
        let mut searched = 0;
        let mut judged = 0;
        loop {
            if let Some(len) = head_end(buffer.filled(), searched) {
                // It may have come whole, in one read.
                if len > HEAD_MAX {
                    return Err(Failed::Bad(BadAnswer::TooLarge));
                }
                let head = &buffer.filled()[..len];
                return response::parse(head, self.request.method, &mut sheet.fields).map_err(Failed::Bad);
            }
            searched = buffer.len();
            if searched > 2 * judged {
                response::check_beginning(buffer.filled()).map_err(Failed::Bad)?;
                judged = searched;
            }
            if searched >= HEAD_MAX {
                return Err(Failed::Bad(BadAnswer::TooLarge));
            }
            buffer.make_room();
            let read = match waiting.interim || searched > 0 {
                false => wire::fill(from, buffer, most, self.head_patience).await,
                true => self.read_more(from, most, buffer, waiting).await,
            };
            match read {
                Ok(n) if n > 0 => {
                    self.told.any_byte.set(true);
                }
                _ if self.told.any_byte.get() => return Err(Failed::ClosedInHead),
                _ => return Err(Failed::Closed),
            }
        }
    }

    /// Reads more of a head that has begun, or behind an interim one: not each read is waited for, but the whole head.
    async fn read_more(
        &self,
        from: &Stream,
        most: usize,
        buffer: &mut Buffer,
        waiting: &mut Waiting,
    ) -> io::Result<usize> {
        let Patience { deadlines, wait, .. } = self.head_patience;
        if !self.head_patience.is_excused() {
            deadlines.set_at(wait, waiting.until(self.head_patience.ms));
        }
        let unused = Deadlines::default();
        let read = wire::fill(from, buffer, most, Patience::new(&unused, wait, 0)).await;
        deadlines.clear(wait);
        read
    }

    /// An HTTP/1.0 client knows no interim answers (RFC 9110 section 15.2).
    async fn interim(
        &self,
        head: &ResponseHead,
        to: &Stream,
        buffer: &mut Buffer,
        sheet: &mut Sheet,
    ) -> io::Result<()> {
        if self.request.minor_version > 0 {
            sheet.out.clear();
            let Sheet { fields, out, .. } = &mut *sheet;
            let (nothing, word) = (Added::default(), ConnectionWord::Implied);
            let counted = response::write(head, buffer.filled(), fields, nothing, word, false, out);
            wire::write_all(to, &mut [IoSlice::new(out)], self.client).await?;
            self.told.head_counted.set(self.told.head_counted.get() + counted);
            self.told.head_bytes.set(self.told.head_bytes.get() + out.len() as u64);
        }
        buffer.consume(head.len);
        Ok(())
    }

    /// Writes the final head to `sheet`; says whether the client's connection outlives the answer.
    fn write_head(&self, head: &ResponseHead, switches: Option<Span>, buffer: &Buffer, sheet: &mut Sheet) -> bool {
        self.told.head_at.set(Some(clock::now().into_std()));
        self.told.status.set(head.status);
        let old_client = self.request.minor_version == 0;
        let delimited = match head.body {
            Framing::UntilClose => false,
            Framing::Chunked => !old_client,
            Framing::None | Framing::Length(_) => true,
        };
        let keep = (self.keep_client)() && delimited;
        let word = match (switches, keep, old_client) {
            (Some(to), ..) => ConnectionWord::Switches(to),
            (None, false, _) => ConnectionWord::Close,
            (None, true, true) => ConnectionWord::KeepAlive,
            (None, true, false) => ConnectionWord::Implied,
        };
        let announced = head.announces_chunks && self.request.method == Method::Head;
        let chunked = (head.body == Framing::Chunked || announced) && !old_client;
        sheet.out.clear();
        let mut gone = 0;
        if let Some(remembered) = self.remembered {
            let answered;
            (answered, gone) = remembered.edit(head, buffer.filled(), sheet);
            self.told.remembered.set(answered);
        }
        let Sheet { fields, out, line } = sheet;
        self.changed.iter().for_each(|changed| changed.drop_from_response(buffer.filled(), fields));
        let dated = fields.iter().any(|field| field.kind == Kind::Date && field.forward);
        let date = (!dated).then(date::now);
        let Self { strict_transport, changed, .. } = *self;
        let added = Added { lines: line, gone, strict_transport, changed, date };
        let counted = response::write(head, buffer.filled(), fields, added, word, chunked, out);
        self.told.head_counted.set(self.told.head_counted.get() + counted);
        keep
    }

    async fn pass_body(
        &self,
        head: &ResponseHead,
        from: &Stream,
        to: &Stream,
        buffer: &mut Buffer,
        written_head: &[u8],
    ) -> Result<(), Broken> {
        let pump = |framing| Pump {
            framing,
            chunked_out: self.request.minor_version > 0,
            source: self.body_patience,
            sink: self.client,
            passed: &self.told.body_out,
            turn_began: Cell::default(),
            end_counted: &self.told.end_counted,
            answers: Some(self.told),
        };
        match head.body {
            Framing::Length(n) if n > (2 * BUFFER_LEN) as u64 => {
                let first = buffer.len() as u64;
                let mut nothing = Sheet::default();
                pump(Framing::Length(first.min(n))).run(from, to, buffer, &mut nothing, written_head).await?;
                buffer.rest();
                let mut large = self.buffers.lend_large();
                let left = Framing::Length(n.saturating_sub(first));
                pump(left).run(from, to, &mut large, &mut nothing, &[]).await
            }
            Framing::Chunked => {
                let mut framing_sheet = self.buffers.lend_sheet();
                pump(Framing::Chunked).run(from, to, buffer, &mut framing_sheet, written_head).await
            }
            other => pump(other).run(from, to, buffer, &mut Sheet::default(), written_head).await,
        }
    }
}
