//! Fields in every form that HPACK has, beside a reader that keeps all letters: what passes unchanged, what is written anew, what ends the
//! connection.

use proptest::prelude::*;

use super::super::table::KNOWN;
use super::*;

/// The same once more, slow and plain: fields are kept in letters, whatever they are.
#[derive(Default)]
struct Reference {
    table: Vec<(Vec<u8>, Vec<u8>)>,
    room: Option<usize>,
}

type Field = (Vec<u8>, Vec<u8>);

impl Reference {
    fn read(&mut self, block: &[u8]) -> Vec<Field> {
        let mut reader = Reader { block, at: 0 };
        let mut list = Vec::new();
        while let Some(first) = reader.peek() {
            if first & 0x80 > 0 {
                list.push(self.get(reader.integer(7).unwrap()));
                continue;
            }
            if first & 0xe0 == 0x20 {
                self.room = Some(reader.integer(5).unwrap());
                self.forget();
                continue;
            }
            let remembered = first & 0x40 > 0;
            let name = match reader.integer(if remembered { 6 } else { 4 }).unwrap() {
                0 => letters(&mut reader),
                number => self.get(number).0,
            };
            let field = (name, letters(&mut reader));
            list.push(field.clone());
            if remembered {
                self.table.insert(0, field);
                self.forget();
            }
        }
        list
    }

    fn get(&self, number: usize) -> Field {
        match KNOWN.get(number - 1) {
            Some(name) => (name.as_bytes().to_vec(), b"known".to_vec()),
            None => self.table[number - 1 - KNOWN.len()].clone(),
        }
    }

    fn forget(&mut self) {
        while self.sizes().iter().sum::<usize>() > self.room.unwrap_or(TABLE_MAX) {
            self.table.pop();
        }
    }

    fn sizes(&self) -> Vec<usize> {
        self.table.iter().map(|(name, value)| name.len() + value.len() + 32).collect()
    }
}

fn letters(reader: &mut Reader<'_>) -> Vec<u8> {
    let (raw, in_code) = reader.letters().unwrap();
    if !in_code {
        return raw.to_vec();
    }
    let mut text = Vec::new();
    assert!(huffman::read(raw, |symbol| text.push(symbol)));
    text
}

fn sizes(fields: &Fields) -> Vec<usize> {
    fields.table.entries.iter().map(|entry| usize::from(entry.size)).collect()
}

const SOUND: Result<Verdict, Reason> = Ok(Verdict::Sound { answered: false });
const ANSWERED: Result<Verdict, Reason> = Ok(Verdict::Sound { answered: true });
const COMPRESSION: Result<Verdict, Reason> = Err(Reason::COMPRESSION_ERROR);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// RFC 7541 appendix C.3 and C.4: the same three requests, in letters and in code.
#[test]
fn requests_of_the_standard() {
    for blocks in [
        [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ],
        [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ],
    ] {
        let mut fields = Fields::default();
        for (block, expected) in blocks.iter().zip([&[57][..], &[53, 57], &[54, 53, 57]]) {
            assert_eq!(fields.judge(&hex(block), Block::RequestHead, false), SOUND);
            assert_eq!(sizes(&fields), expected);
        }
    }
}

/// RFC 7541 appendix C.5 and C.6: answers, with a table of 256 bytes that forgets.
#[test]
fn answers_of_the_standard() {
    for blocks in [
        [
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
             474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738
             666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33
             3630 303b 2076 6572 7369 6f6e 3d31",
        ],
        [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
             63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
             b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ],
    ] {
        let mut fields = Fields::default();
        fields.table.room = 256;
        let expected = [&[63, 65, 52, 42][..], &[42, 63, 65, 52], &[98, 52, 65]];
        for (block, expected) in blocks.iter().zip(expected) {
            assert_eq!(fields.judge(&hex(block), Block::AnswerHead { ends: false }, false), ANSWERED);
            assert_eq!(sizes(&fields), expected);
        }
    }
}

#[test]
fn faults_of_compression() {
    let long: Vec<u8> = [&[0x00][..], b"\x01a", &[0x7f, 0xff, 0xff, 0xff, 0xff, 0x01]].concat();
    for block in [
        // Nothing has that number, or the number 0.
        &[0x80][..],
        &[0xbe],
        &[0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0x7e, 0x01, b'a'],
        // Integers that do not end, or are too long.
        &[0xff],
        &[0xff, 0x80],
        &[0xff, 0x80, 0x80, 0x80, 0x80, 0x01],
        &long,
        // Texts that do not end.
        &[0x00],
        &[0x00, 0x03, b'a'],
        &[0x00, 0x01, b'a'],
        &[0x41, 0x05, b'a'],
        // Not in Huffman's code: filled up with zeros, with a byte, ended in letters.
        &[0x41, 0x81, 0x00],
        &[0x41, 0x82, 0x1f, 0xff],
        &[0x41, 0x84, 0xff, 0xff, 0xff, 0xff],
        // A table too large, or changed behind a field.
        &[0x3f, 0xe2, 0x1f],
        &[0x82, 0x20],
    ] {
        for spoiled in [false, true] {
            assert_eq!(Fields::default().judge(block, Block::RequestHead, spoiled), COMPRESSION, "{block:x?}");
        }
    }
    for block in [&[0x3f, 0xe1, 0x1f, 0x82][..], &[0x20, 0x3f, 0xe1, 0x1f, 0x82], &[0x20], &[]] {
        assert_eq!(Fields::default().judge(block, Block::RequestHead, false), SOUND, "{block:x?}");
    }
}

fn text(text: &[u8], block: &mut Vec<u8>) {
    write_integer(text.len(), 7, 0, block);
    block.extend_from_slice(text);
}

fn literal(begin: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut block = vec![begin];
    text(name, &mut block);
    text(value, &mut block);
    block
}

/// Each as a literal of each kind, alone in a block of trailers or as a head's.
#[test]
fn what_no_message_may_have() {
    for (name, value, is_bad) in [
        (&b"a"[..], &b"b"[..], false),
        (b"a", b"", false),
        (b"x-1!#$%&'*+-.^_`|~", b"\x80\xff \t~", false),
        (b"Bad", b"x", true),
        (b"a b", b"x", true),
        (b"a:b", b"x", true),
        (b"", b"x", true),
        (b"a\x7f", b"x", true),
        (b"\xc3\xa4", b"x", true),
        (b":foo", b"x", true),
        (b":", b"x", true),
        (b":Path", b"/", true),
        (b"a", b"a\rb", true),
        (b"a", b"a\nb", true),
        (b"a", b"\0", true),
        (b"a", b"\x7f", true),
        (b"a", b"\x1b", true),
        (b"te", b"trailers", false),
        (b"te", b"gzip", true),
        (b"te", b"trailers, gzip", true),
        (b"connection", b"close", true),
        (b"transfer-encoding", b"chunked", true),
        (b"proxy-connection", b"x", true),
        (b"keep-alive", b"x", true),
        (b"upgrade", b"x", true),
        (b"upgrades", b"x", false),
    ] {
        for begin in [0x00, 0x10, 0x40] {
            for stands in [Block::RequestHead, Block::Trailers, Block::Answer] {
                let verdict = Fields::default().judge(&literal(begin, name, value), stands, false).unwrap();
                assert_eq!(matches!(verdict, Verdict::Malformed { .. }), is_bad, "{name:?}: {value:?} {stands:?}");
            }
        }
    }
    for (name, value, is_bad) in [
        (&b":method"[..], &b"G"[..], false),
        (b":method", b"", true),
        (b":method", b"G T", true),
        (b":method", b"GET\0", true),
        (b":path", b"/\xff", true),
        (b":path", b"/\xc3\xa4", false),
        (b":path", b"/\r", true),
        (b":authority", b"a\0", true),
        (b":scheme", b"\n", true),
        (b":protocol", b"\xff", true),
        (b":status", b"200", true),
    ] {
        for begin in [0x00, 0x40] {
            let verdict = Fields::default().judge(&literal(begin, name, value), Block::RequestHead, false).unwrap();
            assert_eq!(matches!(verdict, Verdict::Malformed { .. }), is_bad, "{name:?}: {value:?}");
        }
    }
}

/// What was malformed when it was said is malformed when it is meant by its number, or its name is.
#[test]
fn a_flaw_is_remembered() {
    for (name, value, named) in [
        (&b"Bad"[..], &b"x"[..], true),
        (b"good", b"\0", false),
        (b":status", b"20", true),
        (b":method", b"", true),
        (b"", b"x", true),
    ] {
        let mut fields = Fields::default();
        let is_bad = |fields: &mut Fields, block: &[u8]| {
            matches!(fields.judge(block, Block::Answer, false).unwrap(), Verdict::Malformed { .. })
        };
        assert!(is_bad(&mut fields, &literal(0x40, name, value)));
        assert!(is_bad(&mut fields, &[0xbe]), "{name:?}");
        assert_eq!(is_bad(&mut fields, &[0x0f, 62 - 15, 3, b'2', b'0', b'0']), named, "{name:?}");
        assert!(!is_bad(&mut fields, &literal(0, b"a", b"b")));
    }
}

/// A field, as an encoder may say it: (how, name or number, value).
#[derive(Clone, Debug)]
enum Said {
    Number(u8),
    Literal { kind: u8, number: u8, name: Vec<u8>, value: Vec<u8> },
}

fn said() -> impl Strategy<Value = Said> {
    let name = prop_oneof![
        prop::sample::select(vec!["a", "te", "Bad", "", ":method", ":path", ":foo", ":status", "upgrade"])
            .prop_map(|name| name.as_bytes().to_vec()),
        (1usize..400).prop_map(|n| vec![b'n'; n]),
        (1usize..400).prop_map(|n| vec![b'N'; n]),
    ];
    let value = prop_oneof![
        prop::sample::select(vec![&b""[..], b"/", b"200", b"103", b"GET", b"trailers", b"\0", b"\xff"])
            .prop_map(<[u8]>::to_vec),
        (0usize..5000).prop_map(|n| vec![b'v'; n]),
    ];
    let literal = (prop::sample::select(&[0x00u8, 0x10, 0x40, 0x40, 0x40][..]), 0u8..70, name, value).prop_map(
        |(kind, number, name, value)| Said::Literal { kind, number: if number < 30 { 0 } else { number }, name, value },
    );
    prop_oneof![1 => (1u8..70).prop_map(Said::Number), 2 => literal]
}

/// In bytes; numbers that mean nothing mean the first.
fn block(resize: Option<usize>, list: &[Said], reference: &mut Reference) -> Vec<u8> {
    let mut block = Vec::new();
    if let Some(size) = resize {
        write_integer(size, 5, 0x20, &mut block);
    }
    reference.read(&block);
    for one in list {
        let from = block.len();
        let within = |number: u8| {
            let n = usize::from(number);
            if n <= KNOWN.len() + reference.table.len() { n } else { 1 }
        };
        match one {
            Said::Number(number) => write_integer(within(*number), 7, 0x80, &mut block),
            Said::Literal { kind, number, name, value } => {
                let bits = if *kind == 0x40 { 6 } else { 4 };
                if *number == 0 {
                    block.push(*kind);
                    text(name, &mut block);
                } else {
                    write_integer(within(*number), bits, *kind, &mut block);
                }
                text(value, &mut block);
            }
        }
        reference.read(&block[from..]);
    }
    block
}

/// What the library takes as a field, whatever message it may be in.
fn is_readable((name, value): &Field) -> bool {
    let plain = |value: &[u8]| value.iter().all(|byte| BYTES[usize::from(*byte)] & NO_VALUE == 0);
    match &name[..] {
        b":method" => !value.is_empty() && value.iter().all(|byte| BYTES[usize::from(*byte)] & NO_METHOD == 0),
        b":status" => value.len() == 3 && value.iter().all(u8::is_ascii_digit),
        b":authority" | b":path" | b":scheme" | b":protocol" => std::str::from_utf8(value).is_ok(),
        _ => !name.is_empty() && name.iter().all(|byte| BYTES[usize::from(*byte)] & NO_NAME == 0) && plain(value),
    }
}

proptest! {
    #[test]
    fn what_is_shown_keeps_the_tables_in_step(
        blocks in prop::collection::vec(
            (prop::option::of(0usize..=TABLE_MAX), prop::collection::vec(said(), 0..12)),
            1..6,
        ),
        stands in prop::sample::select(&[Block::RequestHead, Block::Trailers, Block::Answer][..]),
    ) {
        // The peer's encoder, the table that is kept here, and the library's.
        let (mut peer, mut fields, mut library) = (Reference::default(), Fields::default(), Reference::default());
        for (resize, list) in blocks {
            let block = block(resize, &list, &mut peer);
            let shown = match fields.judge(&block, stands, false) {
                Ok(Verdict::Sound { .. }) => block,
                Ok(Verdict::Malformed { block: shown, cuts }) => {
                    prop_assert!(shown.ends_with(&SPOILER));
                    prop_assert_eq!(cuts.len(), shown.len() / FRAME_MAX);
                    shown
                }
                // Nothing of no length can be shown.
                Err(reason) => {
                    prop_assert_eq!(reason, Reason::PROTOCOL_ERROR);
                    return Ok(());
                }
            };
            for field in library.read(&shown) {
                prop_assert!(field.1 == b"known" || is_readable(&field), "{:?}", field);
            }
            prop_assert_eq!(library.sizes(), peer.sizes());
            prop_assert_eq!(sizes(&fields), peer.sizes());
            for (theirs, ours) in peer.table.iter().zip(&library.table) {
                prop_assert!(theirs == ours || !is_readable(theirs) || fields.table.entries.iter().any(|e| e.flawed));
            }
        }
    }

    #[test]
    fn nothing_makes_it_panic(block in prop::collection::vec(any::<u8>(), 0..500)) {
        let _ = Fields::default().judge(&block, Block::RequestHead, false);
    }
}

/// Cut within a field, the library waits for all of it.
#[test]
fn what_is_shown_is_cut_within_fields() {
    let one = literal(0x40, b"abc", &[b'v'; 1016]);
    let block = [one.repeat(40), literal(0, b"Bad", b"")].concat();
    let mut fields = Fields::default();
    let Ok(Verdict::Malformed { block: shown, cuts }) = fields.judge(&block, Block::RequestHead, false) else {
        panic!("it is malformed")
    };
    assert_eq!((one.len(), shown.len()), (1024, 40 * 1024 + 4));
    assert_eq!(cuts, [16 * 1024 - 1, 32 * 1024 - 1]);
}

/// A block in which everything is known is walked without memory of its own.
#[test]
fn what_is_known_costs_nothing() {
    let mut fields = Fields::default();
    let block = hex("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff");
    assert_eq!(fields.judge(&block, Block::RequestHead, false), SOUND);
    let room = fields.table.entries.capacity();
    for _ in 0..1000 {
        assert_eq!(fields.judge(&[0x82, 0x86, 0x84, 0xbe], Block::RequestHead, false), SOUND);
    }
    assert_eq!((fields.table.entries.capacity(), size_of::<Entry>()), (room, 8));
}
