//! Whatever frames a client sends, every request that is taken is one for the member and no more; and what its frames count is the same
//! however they come.

use lb_proxy::http2::law::Law;
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
    for lawful in [false, true] {
        let toll = || Toll::after(0, lawful.then(Law::default));
        let whole = toll().walk(bytes);
        let (mut dripping, mut cost, mut fault) = (toll(), 0, None);
        for (at, byte) in bytes.iter().enumerate() {
            let walked = dripping.walk(&[*byte]);
            cost += walked.cost;
            fault = walked.fault.map(|(sound, reason)| (at + sound, reason));
            if fault.is_some() {
                break;
            }
        }
        assert!(whole.cost >= 0);
        assert_eq!((cost, fault), (whole.cost, whole.fault));
    }
}
