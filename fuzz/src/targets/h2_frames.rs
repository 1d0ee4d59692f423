//! Whatever frames a client sends, every request that is taken is one for the member and no more; and what its frames count is the same
//! however they come.

use lb_proxy::http2::toll::Toll;

use crate::drive_h2::requests;
use crate::reference;

pub(super) fn run(bytes: &[u8]) {
    for forwarded in requests(bytes) {
        let got = reference::request(&forwarded.to_member);
        assert_eq!(
            got.as_ref().map(|message| message.len).ok(),
            (forwarded.whole == 1).then_some(forwarded.to_member.len())
        );
    }
    let whole = Toll::after(0).of(bytes);
    let mut toll = Toll::after(0);
    assert!(whole >= 0 && bytes.iter().map(|byte| toll.of(&[*byte])).sum::<i64>() == whole);
}
