//! Is it the members, or is it us? When all members of a pool stop answering at once, this node's own links are looked
//! at before they are blamed.

use lb_core::health::{Bad, Cause, Outcome, Step};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// True if the cause is that nobody was heard at all: it may lie between here and there.
pub(super) fn is_silence(cause: &Cause) -> bool {
    let Cause::Probe { result, .. } = cause else { return false };
    match &result.outcome {
        Outcome::Failed(Bad::Timeout(Step::Connect | Step::Answer | Step::Resolve) | Bad::Unreachable(_)) => true,
        Outcome::Failed(Bad::Connect(errno)) => {
            matches!(
                *errno,
                libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN | libc::ETIMEDOUT
            )
        }
        _ => false,
    }
}

/// What is wrong with this node's links, in words; empty: nothing that can be seen.
pub(super) fn wrong_here() -> String {
    let Ok(all) = getifaddrs() else { return String::new() };
    let mut up = false;
    let (mut dark, mut down) = (Vec::new(), Vec::new());
    for interface in all {
        if interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
            || dark.contains(&interface.interface_name)
            || down.contains(&interface.interface_name)
        {
            continue;
        }
        let lit = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
        if interface.flags.contains(lit) {
            up = true;
        } else if interface.flags.contains(InterfaceFlags::IFF_UP) {
            dark.push(interface.interface_name);
        } else {
            down.push(interface.interface_name);
        }
    }
    match (up, dark.is_empty()) {
        (_, false) => format!("no carrier on {}", dark.join(", ")),
        (false, true) if down.is_empty() => "there is no interface".to_owned(),
        (false, true) => format!("no interface is up ({} down)", down.join(", ")),
        (true, true) => String::new(),
    }
}
