//! However a chunked body is cut, it decodes to the same bytes, or is refused at the same place.
#![no_main]

use lb_proxy::http::h1::chunked::Decoder;
use libfuzzer_sys::fuzz_target;

fn decode(bytes: &[u8], piece: usize) -> Option<(Vec<u8>, usize, bool, Vec<u8>)> {
    let mut decoder = Decoder::default();
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
    }
    let mut end = Vec::new();
    if done {
        decoder.write_end(&mut end).ok()?;
        assert!(end.starts_with(b"0\r\n") && end.ends_with(b"\r\n"));
    }
    Some((body, read, done, end))
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = decode(bytes, bytes.len().max(1));
    let cut = decode(bytes, usize::from(piece).max(1));
    assert_eq!(whole, cut);
});
