//! What a peer's frames may be, as far as their heads (and the values of SETTINGS) tell: what breaks that is stopped
//! before the framing library sees it, and ends the connection with the very code that RFC 9113 asks for. The library
//! refuses most of the same frames, with a general code, and some of them stream by stream.

use h2::Reason;

/// Bytes of a frame's head.
pub(super) const HEAD: usize = 9;
/// Kinds of frames (RFC 9113 section 6).
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
/// Flags of DATA and HEADERS, of HEADERS and CONTINUATION, of SETTINGS.
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// Most bytes of a frame's payload: we announce nothing else (section 4.2).
const PAYLOAD_MAX: usize = 16 * 1024;
/// The setting by which a server would allow itself to push (section 6.5.2).
const ENABLE_PUSH: u16 = 2;
/// The setting of the room that streams begin with, and the most it may be (section 6.5.2).
const INITIAL_WINDOW: u16 = 4;
const WINDOW_MAX: u32 = 0x7fff_ffff;
/// Bytes of one setting.
const SETTING: usize = 6;
/// How many streams that the client ended are known, the last ones. What comes on older ones is left to the library.
const ENDED_KNOWN: usize = 16;
/// Marks a stream that the client gave up; one that it ended has no mark.
const GIVEN_UP: u32 = 1 << 31;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// One of ours.
    Client,
    /// One we are a client of.
    Member,
}

/// Length, kind, flags and stream of the frame that begins so.
pub(super) fn parts([a, b, c, kind, flags, stream @ ..]: [u8; HEAD]) -> (usize, u8, u8, u32) {
    (u32::from_be_bytes([0, a, b, c]) as usize, kind, flags, u32::from_be_bytes(stream) & !GIVEN_UP)
}

/// See the module.
#[derive(Debug)]
pub(super) struct Law {
    side: Side,
    /// Its settings, which come first, have come.
    begun: bool,
    /// The last stream that was opened.
    last: u32,
    /// A ring of streams on which the client may say nothing more, each with its mark; 0: none.
    ended: [u32; ENDED_KNOWN],
    ended_at: usize,
    /// Fields are to be continued: what may come then is the library's to know.
    in_fields: bool,
    /// What of the current SETTINGS' next value has come, if they are current.
    setting: Option<([u8; SETTING], usize)>,
}

impl Law {
    /// For what comes from there.
    pub(super) fn of(side: Side) -> Self {
        Self { side, begun: false, last: 0, ended: [0; _], ended_at: 0, in_fields: false, setting: None }
    }

    /// A frame begins.
    pub(super) fn head(&mut self, head: [u8; HEAD]) -> Result<(), Reason> {
        let (len, kind, flags, stream) = parts(head);
        self.setting = None;
        // Section 3.4.
        if !self.begun && (kind != SETTINGS || flags & ACK > 0) {
            return Err(Reason::PROTOCOL_ERROR);
        }
        self.begun = true;
        let fits = match kind {
            _ if len > PAYLOAD_MAX => false,
            PRIORITY => len == 5,
            RST_STREAM | WINDOW_UPDATE => len == 4,
            PING => len == 8,
            GOAWAY => len >= 8,
            SETTINGS if flags & ACK > 0 => len == 0,
            SETTINGS => len.is_multiple_of(SETTING),
            _ => true,
        };
        if !fits {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        match kind {
            SETTINGS => self.setting = Some(([0; SETTING], 0)),
            // What of a member's comes on streams that have ended is the library's to know.
            _ if self.side == Side::Member => {}
            RST_STREAM => self.note(stream | GIVEN_UP),
            HEADERS | DATA if !self.in_fields && stream > 0 => return self.message(kind, flags, stream),
            CONTINUATION => self.in_fields &= flags & END_HEADERS == 0,
            _ => {}
        }
        Ok(())
    }

    /// HEADERS or DATA on `stream`: nothing may follow what ended (section 5.1).
    fn message(&mut self, kind: u8, flags: u8, stream: u32) -> Result<(), Reason> {
        if kind == HEADERS && stream > self.last {
            self.last = stream;
        } else {
            let is_over = |ended: &u32| *ended == stream || (kind == HEADERS && *ended == stream | GIVEN_UP);
            if self.ended.iter().any(is_over) {
                return Err(Reason::STREAM_CLOSED);
            }
        }
        self.in_fields = kind == HEADERS && flags & END_HEADERS == 0;
        if flags & END_STREAM > 0 {
            self.note(stream);
        }
        Ok(())
    }

    fn note(&mut self, stream: u32) {
        if let Some(place) = self.ended.get_mut(self.ended_at) {
            *place = stream;
        }
        self.ended_at = (self.ended_at + 1) % ENDED_KNOWN;
    }

    /// More of the frame's payload.
    pub(super) fn payload(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        let Some((value, known)) = &mut self.setting else { return Ok(()) };
        for byte in bytes {
            if let Some(place) = value.get_mut(*known) {
                *place = *byte;
            }
            *known = (*known + 1) % SETTING;
            let [id @ .., a, b, c, d] = *value;
            if *known > 0 {
                continue;
            }
            match (u16::from_be_bytes(id), u32::from_be_bytes([a, b, c, d])) {
                (INITIAL_WINDOW, room) if room > WINDOW_MAX => return Err(Reason::FLOW_CONTROL_ERROR),
                // Clients may; it would be for us that a member does.
                (ENABLE_PUSH, 1) if self.side == Side::Member => return Err(Reason::PROTOCOL_ERROR),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(len: u32, kind: u8, flags: u8, stream: u32) -> [u8; HEAD] {
        let [_, a, b, c] = len.to_be_bytes();
        let [s, t, u, v] = stream.to_be_bytes();
        [a, b, c, kind, flags, s, t, u, v]
    }

    /// Of one that has said its settings.
    fn law(side: Side) -> Law {
        let mut law = Law::of(side);
        assert_eq!(law.head(head(0, SETTINGS, 0, 0)), Ok(()));
        law
    }

    #[test]
    fn settings_come_first() {
        for side in [Side::Client, Side::Member] {
            for (kind, flags) in [(PING, 0), (SETTINGS, ACK), (HEADERS, END_HEADERS), (0xee, 0)] {
                let told = Law::of(side).head(head(0, kind, flags, 1));
                assert_eq!(told, Err(Reason::PROTOCOL_ERROR), "{side:?} {kind}");
            }
        }
    }

    #[test]
    fn a_member_does_not_push() {
        for (side, value, expected) in
            [(Side::Member, 1, Err(Reason::PROTOCOL_ERROR)), (Side::Member, 0, Ok(())), (Side::Client, 1, Ok(()))]
        {
            let mut law = law(side);
            assert_eq!(law.head(head(6, SETTINGS, 0, 0)), Ok(()));
            assert_eq!(law.payload(&[0, 2, 0, 0, 0, value]), expected, "{side:?} {value}");
        }
    }

    #[test]
    fn frames_have_their_lengths() {
        for (kind, flags, right, wrong) in [
            (PRIORITY, 0, &[5][..], &[0, 4, 6][..]),
            (RST_STREAM, 0, &[4], &[0, 3, 5]),
            (SETTINGS, 0, &[0, 6, 12], &[1, 5, 7]),
            (SETTINGS, ACK, &[0], &[1, 6]),
            (PING, 0, &[8], &[0, 7, 9]),
            (GOAWAY, 0, &[8, 100], &[0, 7]),
            (WINDOW_UPDATE, 0, &[4], &[0, 3, 5]),
            (DATA, 0, &[0, 1, 16_384], &[16_385]),
            (0xee, 0, &[0, 1, 16_384], &[16_385]),
        ] {
            for len in right {
                assert_eq!(law(Side::Client).head(head(*len, kind, flags, 0)), Ok(()), "{kind} {len}");
            }
            for len in wrong {
                let told = law(Side::Client).head(head(*len, kind, flags, 0));
                assert_eq!(told, Err(Reason::FRAME_SIZE_ERROR), "{kind} {len}");
            }
        }
    }

    #[test]
    fn nothing_follows_what_ended() {
        let closed = Err(Reason::STREAM_CLOSED);
        let mut law = law(Side::Client);
        let mut say = |kind, flags, stream| law.head(head(4, kind, flags, stream));
        assert_eq!(say(HEADERS, END_HEADERS, 1), Ok(()));
        assert_eq!(say(DATA, 0, 1), Ok(()));
        assert_eq!(say(HEADERS, END_HEADERS | END_STREAM, 1), Ok(()), "trailers");
        assert_eq!(say(DATA, 0, 1), closed);
        assert_eq!(say(HEADERS, END_HEADERS, 1), closed);
        assert_eq!(say(WINDOW_UPDATE, 0, 1), Ok(()));
        assert_eq!(say(HEADERS, END_HEADERS, 3), Ok(()));
        assert_eq!(say(RST_STREAM, 0, 3), Ok(()));
        assert_eq!(say(DATA, 0, 3), Ok(()), "that ends the stream alone, as the library does");
        assert_eq!(say(HEADERS, END_HEADERS, 3), closed);
        // Fields that go on are no second message.
        assert_eq!(say(HEADERS, END_STREAM, 5), Ok(()));
        assert_eq!(say(HEADERS, END_HEADERS, 5), Ok(()), "left to the library, which knows what it is");
        assert_eq!(say(CONTINUATION, END_HEADERS, 5), Ok(()));
        assert_eq!(say(DATA, 0, 5), closed);
        assert_eq!(say(DATA, END_STREAM, 0), Ok(()), "the library knows that the connection is no stream");
        // Streams are numbered in 31 bits.
        assert_eq!(say(DATA, 0, 5 | GIVEN_UP), closed);
        // As many as are known.
        for n in 0..ENDED_KNOWN as u32 {
            assert_eq!(say(HEADERS, END_HEADERS | END_STREAM, 2 * n + 7), Ok(()));
        }
        assert_eq!(say(DATA, 0, 5), Ok(()));
        assert_eq!(say(DATA, 0, 7), closed);
    }

    #[test]
    fn windows_begin_with_what_there_is() {
        let value = |id: u8, room: u32| [&[0, id][..], &room.to_be_bytes()].concat();
        for (bytes, expected) in [
            (value(4, WINDOW_MAX), Ok(())),
            (value(3, WINDOW_MAX + 1), Ok(())),
            (value(4, WINDOW_MAX + 1), Err(Reason::FLOW_CONTROL_ERROR)),
            ([value(4, 0), value(4, u32::MAX)].concat(), Err(Reason::FLOW_CONTROL_ERROR)),
        ] {
            let mut law = law(Side::Client);
            assert_eq!(law.head(head(100, DATA, 0, 1)), Ok(()));
            assert_eq!(law.payload(&bytes), Ok(()), "no SETTINGS");
            assert_eq!(law.head(head(bytes.len() as u32, SETTINGS, 0, 0)), Ok(()));
            assert_eq!(law.payload(&bytes), expected, "{bytes:?}");
        }
    }
}
