//! Whatever stands in a `Cookie` field: our cookies go, all others stay byte for byte, and it takes linear time.

use lb_core::persistence::cookie::{pairs, set, write_revalued, write_shortened, write_without};

const NAME: &[u8] = b"SRV";

fn others(field: &[u8]) -> Vec<(&[u8], &[u8])> {
    let all = pairs(field).filter(|pair| pair.name != NAME);
    all.filter(|pair| !(pair.name.is_empty() && pair.value.is_empty())).map(|pair| (pair.name, pair.value)).collect()
}

pub(super) fn run(field: &[u8]) {
    let mut cut = Vec::new();
    let left = write_without(field, NAME, &mut cut);
    assert_eq!(others(field), others(&cut));
    assert!(pairs(&cut).all(|pair| pair.name != NAME));
    assert!(left || cut.is_empty());
    let mut again = Vec::new();
    write_without(&cut, NAME, &mut again);
    assert_eq!(cut, again, "cutting twice changes nothing");

    let mut same = Vec::new();
    write_shortened(field, NAME, |_| 0, &mut same);
    assert_eq!(same, field);
    let mut shorter = Vec::new();
    write_shortened(field, NAME, |value| value.len().min(2), &mut shorter);
    assert_eq!(others(field), others(&shorter));

    if !set(field).name.is_empty() {
        let mut other = Vec::new();
        write_revalued(field, |_, out| out.extend_from_slice(b"other"), &mut other);
        assert_eq!(set(&other).name, set(field).name);
        assert_eq!(set(&other).value, b"other");
    }
}
