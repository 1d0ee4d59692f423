//! What Weir is measured with: beside HAProxy and nginx in the same run, and by counting instructions.
//! `benches/README.md` has the rules.
//!
//! | file | what it is |
//! |---|---|
//! | [`scenario`] | what is played |
//! | [`contender`] | who plays: HAProxy, nginx, Weir, nobody; and their settings |
//! | [`member`] | the server behind all of them |
//! | [`peak`], [`fixed_rate`], [`idle`] | the loads: as much as goes, at a rate, connections at rest |
//! | [`tls`] | TLS for all, and the loads that speak it |
//! | [`sink`] | takes log lines |
//! | [`place`], [`cores`], [`process`], [`usage`], [`syscalls`] | the ground: a network of one's own, pinning, processes, their figures |
//! | [`checks`] | a thousand members asked every two seconds |
//! | [`floods`] | clients that mean harm, and what others notice |
//! | [`density`] | many VIPs on one node at rest |
//! | [`micro`] | instruction counts of hot functions |
//! | [`run`], [`record`] | rounds, and what they leave behind |
//! | [`summary`], [`report`], [`plot`] | medians and ratios, what is written |

pub mod checks;
pub mod contender;
pub mod cores;
pub mod density;
pub mod fixed_rate;
pub mod floods;
pub mod idle;
pub mod member;
pub mod micro;
pub mod peak;
pub mod place;
pub mod plot;
pub mod process;
pub mod record;
pub mod report;
pub mod run;
pub mod scenario;
pub mod sink;
pub mod summary;
pub mod syscalls;
pub mod tls;
pub mod usage;
pub mod wire;

/// Lets time pass. Nobody unparks the threads that call it.
pub fn pause(time: std::time::Duration) {
    let until = std::time::Instant::now() + time;
    while let Some(left) = until.checked_duration_since(std::time::Instant::now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}
