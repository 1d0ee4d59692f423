//! What passes the gate, what is held back, and what ends there, however bytes are cut.

use proptest::prelude::*;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// What is shown of bytes that come in such pieces, with what they cost and what is wrong with them.
fn shown(gate: &mut Gate, bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, i64, Option<Reason>) {
    let (mut all, mut cost) = (Vec::new(), 0);
    let (mut at, mut cuts) = (0, cuts.iter().cycle());
    while at < bytes.len() {
        let until = (at + cuts.next().unwrap()).min(bytes.len());
        let mut behind = Vec::new();
        let walked = gate.walk(&bytes[at..until], &mut behind);
        all.extend_from_slice(&bytes[at..at + walked.shown]);
        all.extend(behind);
        cost += walked.cost;
        if walked.fault.is_some() {
            return (all, cost, walked.fault);
        }
        at = until;
    }
    (all, cost, None)
}

fn gate(side: Side) -> Gate {
    let mut gate = Gate::after(0, side);
    assert_eq!(shown(&mut gate, &frame(4, 0, 0, &[]), &[9]).2, None);
    gate
}

/// GET / of `a`, all of it indexed or small.
const GET: [u8; 6] = [0x82, 0x86, 0x84, 0x41, 1, b'a'];

#[test]
fn a_whole_frame_is_shown_where_it_lies() {
    let bytes = [frame(1, 5, 1, &GET), frame(1, 4, 3, &GET), frame(0, 1, 3, b"data"), frame(6, 0, 0, &[0; 8])].concat();
    let mut behind = Vec::new();
    let walked = gate(Side::Client).walk(&bytes, &mut behind);
    assert_eq!((walked.shown, walked.fault, behind.as_slice()), (bytes.len(), None, &[][..]));
}

#[test]
fn fields_wait_until_they_are_whole() {
    let mut gate = gate(Side::Client);
    let mut behind = Vec::new();
    let begin = frame(1, 1, 1, &GET[..3]);
    let walked = gate.walk(&begin, &mut behind);
    assert_eq!((walked.shown, walked.fault, gate.is_waiting()), (0, None, true));
    let end = frame(9, 4, 1, &GET[3..]);
    let walked = gate.walk(&end, &mut behind);
    assert_eq!((walked.shown, walked.fault, gate.is_waiting()), (0, None, false));
    assert_eq!(behind, [begin, end].concat());
    // And what comes next is shown where it lies.
    let bytes = frame(1, 5, 3, &GET);
    assert_eq!(gate.walk(&bytes, &mut Vec::new()).shown, bytes.len());
}

#[test]
fn a_malformed_message_is_written_anew_for_its_stream_alone() {
    let bad = frame(1, 5, 1, &[&GET[..], &[0, 3, b'B', b'a', b'd', 1, b'x']].concat());
    let good = frame(1, 5, 3, &[0x82, 0x86, 0x84, 0xbe]);
    let (all, _, fault) = shown(&mut gate(Side::Client), &[bad, good.clone()].concat(), &[1000]);
    assert_eq!(fault, None);
    let instead = frame(1, 5, 1, &[0x41, 1, b'a', 0x0f, 42, 1, b'x']);
    assert_eq!(all, [instead, good].concat(), "the host is still remembered");
}

#[test]
fn padding_and_priorities_are_no_fields() {
    let body = |flags: u8, payload: &[u8]| shown(&mut gate(Side::Client), &frame(1, flags, 1, payload), &[1000]);
    let padded = [&[3][..], &GET, &[0, 0, 0]].concat();
    let (all, _, fault) = body(0xd, &padded);
    assert_eq!((all, fault), (frame(1, 0xd, 1, &padded), None));
    let prioritized = [&[0, 0, 0, 3, 7][..], &GET].concat();
    let (all, _, fault) = body(0x25, &prioritized);
    assert_eq!((all, fault), (frame(1, 0x25, 1, &prioritized), None));
    // The library would not read the fields of a stream that depends on itself.
    let on_itself = [&[0x80, 0, 0, 1, 7][..], &GET].concat();
    let (all, _, fault) = body(0x25, &on_itself);
    assert_eq!((all, fault), (frame(1, 5, 1, &[0x41, 1, b'a', 0x0f, 42, 1, b'x']), None));
    assert_eq!(body(0xc, &[]).2, Some(Reason::FRAME_SIZE_ERROR));
    assert_eq!(body(0x24, &[0; 4]).2, Some(Reason::FRAME_SIZE_ERROR));
    assert_eq!(body(0xc, &[4, 0x82, 0, 0]).2, Some(Reason::PROTOCOL_ERROR));
}

#[test]
fn fields_go_on_at_once_and_come_to_an_end() {
    let told = |frames: &[Vec<u8>]| shown(&mut gate(Side::Client), &frames.concat(), &[1000]).2;
    let begin = || frame(1, 0, 1, &GET);
    for other in [frame(0, 0, 1, &[]), frame(6, 0, 0, &[0; 8]), frame(9, 4, 3, &[]), frame(0xee, 0, 1, &[])] {
        assert_eq!(told(&[begin(), other]), Some(Reason::PROTOCOL_ERROR));
    }
    assert_eq!(told(&[frame(9, 4, 1, &[])]), Some(Reason::PROTOCOL_ERROR));
    assert_eq!(told(&[frame(5, 4, 1, &[0, 0, 0, 2])]), Some(Reason::PROTOCOL_ERROR));
    assert_eq!(told(&[frame(1, 5, 2, &GET)]), Some(Reason::PROTOCOL_ERROR));
    assert_eq!(told(&[frame(1, 5, 0, &GET)]), Some(Reason::PROTOCOL_ERROR));
    let empty: Vec<_> = std::iter::once(begin()).chain(std::iter::repeat_n(frame(9, 0, 1, &[]), 5)).collect();
    assert_eq!(told(&empty), None);
    assert_eq!(told(&[empty, vec![frame(9, 0, 1, &[])]].concat()), Some(Reason::ENHANCE_YOUR_CALM));
    let large: Vec<_> = std::iter::once(begin()).chain(std::iter::repeat_n(frame(9, 0, 1, &[0; 15_360]), 4)).collect();
    assert_eq!(told(&large), Some(Reason::ENHANCE_YOUR_CALM));
}

#[test]
fn a_window_that_is_opened_by_nothing_ends_its_stream() {
    for (side, stream, zero, ends) in [
        (Side::Client, 1, [0, 0, 0, 0], true),
        (Side::Client, 1, [0x80, 0, 0, 0], true),
        (Side::Client, 1, [0, 0, 0, 1], false),
        (Side::Client, 3, [0, 0, 0, 0], false),
        (Side::Client, 0, [0, 0, 0, 0], false),
        (Side::Member, 1, [0, 0, 0, 0], true),
        (Side::Member, 2, [0, 0, 0, 0], false),
    ] {
        for cut in [1, 1000] {
            let mut gate = gate(side);
            let head = if side == Side::Client { frame(1, 4, 1, &GET) } else { Vec::new() };
            shown(&mut gate, &head, &[1000]);
            let window = frame(8, 0, stream, &zero);
            let (all, _, fault) = shown(&mut gate, &window, &[cut]);
            let expected = if ends { frame(2, 0, 1, &[0, 0, 0, 1, 0]) } else { window };
            assert_eq!((all, fault), (expected, None), "{side:?} {stream} {zero:?}");
        }
    }
}

#[test]
fn answers_and_trailers_have_pseudo_fields_of_their_own() {
    let is_malformed = |gate: &mut Gate, flags: u8, stream: u32, block: &[u8]| {
        let bytes = frame(1, flags, stream, block);
        let (all, _, fault) = shown(gate, &bytes, &[1000]);
        assert_eq!(fault, None);
        all != bytes
    };
    let mut client = gate(Side::Client);
    assert!(!is_malformed(&mut client, 4, 1, &GET));
    assert!(is_malformed(&mut client, 5, 1, &[0x84]), "a path in trailers");
    assert!(is_malformed(&mut client, 5, 3, &[0x82, 0x86, 0x84, 0x88]), "a status in a request");
    assert!(is_malformed(&mut client, 5, 5, &[0x82, 0x86, 0x84, 0x84]), "two paths");
    assert!(is_malformed(&mut client, 5, 7, &[0x82, 0x86, 0x90, 0x84]), "a path behind a field");
    // Behind one that left numbers out, nobody knows what was opened.
    assert!(!is_malformed(&mut client, 4, 21, &GET));
    assert!(!is_malformed(&mut client, 5, 21, &[0x90]));
    assert_eq!(shown(&mut client, &frame(1, 5, 19, &GET), &[1000]).2, Some(Reason::PROTOCOL_ERROR));
    let mut member = gate(Side::Member);
    let hints = [0x08, 3, b'1', b'0', b'3'];
    assert!(!is_malformed(&mut member, 4, 1, &hints));
    assert!(!is_malformed(&mut member, 4, 1, &[0x88]), "behind an interim head");
    assert!(!is_malformed(&mut member, 5, 1, &[0x90]), "trailers");
    assert!(is_malformed(&mut member, 5, 1, &[0x88]), "trailers with a status");
    assert!(is_malformed(&mut member, 5, 3, &[0x90]), "no status");
    assert!(is_malformed(&mut member, 4, 5, &[0x88, 0x84]), "a path");
    assert!(is_malformed(&mut member, 5, 7, &hints), "an interim head at the end");
    for status in [b"099", b"600", b"999", b"101", b"2 0", b"+20"] {
        assert!(is_malformed(&mut member, 5, 9, &[&[0x08, 3][..], status].concat()), "{status:?}");
    }
    assert!(!is_malformed(&mut member, 5, 9, &[0x08, 3, b'5', b'9', b'9']));
    // A place that another stream has taken says nothing.
    assert!(!is_malformed(&mut member, 4, 257, &[0x88]));
    assert!(!is_malformed(&mut member, 5, 1, &[0x90]));
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let block = prop_oneof![
        Just(GET.to_vec()),
        Just(vec![0x82, 0x86, 0x84, 0xbe]),
        Just(vec![0x88, 0x90]),
        Just(vec![0x40, 1, b'X', 1, b'y']),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    let one = (0u8..11, prop::sample::select(&[0u8, 1, 4, 5, 13, 37][..]), 0u32..6, block)
        .prop_map(|(kind, flags, stream, block)| frame(if kind == 10 { 1 } else { kind }, flags, stream, &block));
    prop::collection::vec(one, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn it_is_the_same_however_bytes_come(
        frames in frames(),
        cuts in prop::collection::vec(1usize..50, 1..20),
        side in prop::sample::select(&[Side::Client, Side::Member][..]),
    ) {
        let bytes = [PREFACE, &frame(4, 0, 0, &[0, 4, 0, 0, 1, 0]), &frames].concat();
        let whole = shown(&mut Gate::after(24, side), &bytes, &[usize::MAX / 2]);
        prop_assert_eq!(shown(&mut Gate::after(24, side), &bytes, &cuts), whole);
    }

    #[test]
    fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (_, cost, _) = shown(&mut gate(Side::Client), &bytes, &[700]);
        prop_assert!(cost >= 0);
    }
}
