//! However a chunked body is cut, it decodes to the same bytes, or is refused; what it decodes to is what RFC 9112 says, and where it
//! ends is where RFC 9112 says.

use lb_proxy::http::h1::chunked::Decoder;

use crate::reference::{self, Fields, Sizes};

struct Decoded {
    body: Vec<u8>,
    read: usize,
    done: bool,
    trailers: Fields,
}

fn decode(bytes: &[u8], piece: usize, sizes: Sizes) -> Option<Decoded> {
    let mut decoder = if sizes == Sizes::Padded { Decoder::of_answer() } else { Decoder::default() };
    let (mut body, mut read, mut done) = (Vec::new(), 0, false);
    for part in bytes.chunks(piece) {
        let mut buffer = part.to_vec();
        let decoded = decoder.decode(&mut buffer, 0..part.len()).ok()?;
        body.extend_from_slice(&buffer[decoded.payload]);
        read += decoded.consumed;
        done = decoded.done;
        if done {
            break;
        }
        assert_eq!(decoded.consumed, part.len(), "nothing is left lying");
    }
    let mut trailers = Fields::new();
    if done {
        let mut end = Vec::new();
        decoder.write_end(&mut end).ok()?;
        let written = reference::chunked(&end, Sizes::Plain).expect("what is written is a last chunk");
        assert!(written.body.is_empty() && written.len == end.len());
        trailers = written.trailers;
    }
    Some(Decoded { body, read, done, trailers })
}

pub(super) fn run(bytes: &[u8]) {
    for sizes in [Sizes::Plain, Sizes::Padded] {
        decoded(bytes, sizes);
    }
}

fn decoded(bytes: &[u8], sizes: Sizes) {
    let whole = decode(bytes, bytes.len().max(1), sizes);
    for piece in [1, 2, 3, 7, 1 + bytes.len() / 2] {
        match (&whole, decode(bytes, piece, sizes)) {
            (None, None) => {}
            (Some(whole), Some(cut)) => {
                assert_eq!((&whole.body, whole.read, whole.done), (&cut.body, cut.read, cut.done));
                assert_eq!(whole.trailers, cut.trailers);
            }
            // Cut or not, trailers that are no fields are found at their end only, and nobody looks before that.
            (whole, cut) => panic!("taken whole: {}, taken in pieces of {piece}: {}", whole.is_some(), cut.is_some()),
        }
    }
    let Some(whole) = whole.filter(|decoded| decoded.done) else { return };
    let said = reference::chunked(bytes, sizes).expect("what is taken is chunked coding");
    assert_eq!((&said.body, said.len), (&whole.body, whole.read));
    let passed = said.trailers.into_iter().filter(|(name, _)| reference::may_trail(name)).collect::<Fields>();
    assert_eq!(passed, whole.trailers, "trailers that may pass do, and no others");
}
