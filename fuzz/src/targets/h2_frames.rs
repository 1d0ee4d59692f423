//! Whatever frames a client sends, every request that is taken is one for the member and no more; and what its frames count is the same
//! however they come.

use lb_proxy::http2::gate::{Gate, Walked};
use lb_proxy::http2::law::Side;

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
    for side in [Side::Client, Side::Member] {
        let mut shown = Vec::new();
        let whole = walk(&mut Gate::after(0, side), bytes, &mut shown);
        let (mut dripping, mut cost, mut fault) = (Gate::after(0, side), 0, None);
        let mut dripped = Vec::new();
        for byte in bytes {
            let walked = walk(&mut dripping, &[*byte], &mut dripped);
            cost += walked.cost;
            fault = walked.fault;
            if fault.is_some() {
                break;
            }
        }
        assert!(whole.cost >= 0);
        assert_eq!((cost, fault), (whole.cost, whole.fault));
        // Of a frame that turns out to be wrong, what came before may have been shown already.
        assert!(dripped.starts_with(&shown) && (fault.is_some() || dripped == shown));
    }
}

fn walk(gate: &mut Gate, bytes: &[u8], shown: &mut Vec<u8>) -> Walked {
    let mut behind = Vec::new();
    let walked = gate.walk(bytes, &mut behind);
    shown.extend_from_slice(&bytes[..walked.shown]);
    shown.extend(behind);
    walked
}
