//! ClientHellos, made by hand: every shape a client could give one, and records to carry it.

/// `bytes` after their length, a number of `len` bytes.
fn sized(len: usize, bytes: &[u8]) -> Vec<u8> {
    [&bytes.len().to_be_bytes()[size_of::<usize>() - len..], bytes].concat()
}

fn extension(kind: u16, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(2, bytes)].concat()
}

/// The handshake message of a client of today that asks for `name`, if for any: GREASE, a key share of post-quantum size, padding.
pub fn message(name: Option<&str>) -> Vec<u8> {
    let server_name = |name: &str| extension(0, &sized(2, &[&[0][..], &sized(2, name.as_bytes())].concat()));
    let extensions = [
        extension(0x3a3a, &[]),
        extension(51, &sized(2, &[&[0x11, 0xec][..], &sized(2, &[5; 1216])].concat())),
        name.map_or_else(Vec::new, server_name),
        extension(43, &[2, 3, 4]),
        extension(21, &[0; 64]),
    ];
    let fixed = [&[3, 3][..], &[7; 32], &sized(1, &[9; 32]), &sized(2, &[0x3a, 0x3a, 0x13, 1]), &[1, 0]].concat();
    [&[1][..], &sized(3, &[fixed, sized(2, &extensions.concat())].concat())].concat()
}

/// A message in one record.
pub fn record(message: &[u8]) -> Vec<u8> {
    [&[22, 3, 1][..], &sized(2, message)].concat()
}

/// The whole of it in one record.
pub fn hello(name: Option<&str>) -> Vec<u8> {
    record(&message(name))
}

/// The same in records of at most `len` bytes.
pub fn split(name: Option<&str>, len: usize) -> Vec<u8> {
    message(name).chunks(len).flat_map(record).collect()
}

/// Where `name` begins in `bytes`.
pub fn place_of(bytes: &[u8], name: &str) -> usize {
    bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap_or_else(|| panic!("no {name}"))
}
