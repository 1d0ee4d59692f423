//! `operating_status`: what Octavia's API says of members, pools, listeners and load balancers.
//!
//! The rules are those of Octavia's health manager, with what HAProxy reports put in our words:
//!
//! - a member is OFFLINE in maintenance, ERROR while down, DRAINING without a share of new work, NO_MONITOR while
//!   nobody asks, else ONLINE. Until it was asked it is ONLINE: it takes work.
//! - a pool is OFFLINE if it is administratively down, ERROR if it has members and none of them can take work
//!   (HAProxy: no server with weight left), DEGRADED while a member is in ERROR, else ONLINE: also without
//!   members or monitors.
//! - a listener is OFFLINE if it is administratively down, DEGRADED while its connection limit is reached, and
//!   else as its pools are, the default pool and those of its policies: ERROR if all of them are, DEGRADED if some are or
//!   one is DEGRADED. (Octavia leaves pools out there and shows them beside; here a listener that can only refuse
//!   does not claim to be well.) A pool that is OFFLINE is what the operator wanted.
//! - a load balancer is OFFLINE if it is administratively down, else as bad as the worst of its listeners. Pools
//!   that no listener uses serve nobody and do not count.

use serde::{Deserialize, Serialize};

use super::axes::{Administrative, Operational};

/// Octavia's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OperatingStatus {
    /// It serves.
    Online,
    /// It serves with less than it has.
    Degraded,
    /// It cannot serve.
    Error,
    /// The operator took it out of service.
    Offline,
    /// A member that takes no new work.
    Draining,
    /// A member nobody asks.
    NoMonitor,
}

impl std::fmt::Display for OperatingStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Online => "ONLINE",
            Self::Degraded => "DEGRADED",
            Self::Error => "ERROR",
            Self::Offline => "OFFLINE",
            Self::Draining => "DRAINING",
            Self::NoMonitor => "NO_MONITOR",
        })
    }
}

/// What a listener's connection limit does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There is room.
    Open,
    /// The limit is reached; clients wait.
    Full,
}

/// A member's.
pub fn of_member(administrative: Administrative, operational: Operational) -> OperatingStatus {
    match (administrative, operational) {
        (Administrative::Maint, _) => OperatingStatus::Offline,
        (_, Operational::Down) => OperatingStatus::Error,
        (Administrative::Drain, _) => OperatingStatus::Draining,
        (Administrative::Ready, Operational::NoCheck) => OperatingStatus::NoMonitor,
        (Administrative::Ready, Operational::Up | Operational::Starting) => OperatingStatus::Online,
    }
}

/// A pool's, from its members'.
pub fn of_pool(admin_state_up: bool, members: impl IntoIterator<Item = OperatingStatus>) -> OperatingStatus {
    if !admin_state_up {
        return OperatingStatus::Offline;
    }
    let (mut any, mut working, mut failed) = (false, false, false);
    for member in members {
        any = true;
        working |= matches!(member, OperatingStatus::Online | OperatingStatus::NoMonitor);
        failed |= member == OperatingStatus::Error;
    }
    match (any && !working, failed) {
        (true, _) => OperatingStatus::Error,
        (false, true) => OperatingStatus::Degraded,
        (false, false) => OperatingStatus::Online,
    }
}

/// A listener's, from those of all pools that can serve its requests; `admin_state_up` is its own and the load balancer's.
pub fn of_listener(
    admin_state_up: bool,
    admission: Admission,
    pools: impl IntoIterator<Item = OperatingStatus>,
) -> OperatingStatus {
    if !admin_state_up {
        return OperatingStatus::Offline;
    }
    let (mut serving, mut failed, mut degraded) = (false, false, admission == Admission::Full);
    for pool in pools {
        failed |= pool == OperatingStatus::Error;
        serving |= !matches!(pool, OperatingStatus::Error | OperatingStatus::Offline);
        degraded |= pool == OperatingStatus::Degraded;
    }
    match (failed, serving) {
        (true, false) => OperatingStatus::Error,
        (true, true) => OperatingStatus::Degraded,
        (false, _) if degraded => OperatingStatus::Degraded,
        (false, _) => OperatingStatus::Online,
    }
}

/// A load balancer's, from its listeners'.
pub fn of_load_balancer(admin_state_up: bool, listeners: impl IntoIterator<Item = OperatingStatus>) -> OperatingStatus {
    if !admin_state_up {
        return OperatingStatus::Offline;
    }
    listeners.into_iter().fold(OperatingStatus::Online, |worst, listener| match (worst, listener) {
        (_, OperatingStatus::Error) | (OperatingStatus::Error, _) => OperatingStatus::Error,
        (_, OperatingStatus::Degraded) | (OperatingStatus::Degraded, _) => OperatingStatus::Degraded,
        _ => OperatingStatus::Online,
    })
}

#[cfg(test)]
mod tests {
    use super::OperatingStatus::{Degraded, Draining, Error, NoMonitor, Offline, Online};
    use super::*;

    const ALL: [OperatingStatus; 6] = [Online, Degraded, Error, Offline, Draining, NoMonitor];

    #[test]
    fn of_every_member() {
        use Administrative::{Drain, Maint, Ready};
        use Operational::{Down, NoCheck, Starting, Up};
        let table = [
            (Ready, [(NoCheck, NoMonitor), (Up, Online), (Starting, Online), (Down, Error)]),
            (Drain, [(NoCheck, Draining), (Up, Draining), (Starting, Draining), (Down, Error)]),
            (Maint, [(NoCheck, Offline), (Up, Offline), (Starting, Offline), (Down, Offline)]),
        ];
        for (administrative, row) in table {
            for (operational, expected) in row {
                assert_eq!(of_member(administrative, operational), expected, "{administrative:?} {operational:?}");
            }
        }
    }

    #[test]
    fn of_pools() {
        assert_eq!(of_pool(true, []), Online, "nobody is down where nobody is");
        for (members, expected) in [
            (&[Online][..], Online),
            (&[NoMonitor], Online),
            (&[Error], Error),
            (&[Draining], Error),
            (&[Offline], Error),
            (&[Draining, Offline], Error),
            (&[Online, Error], Degraded),
            (&[NoMonitor, Error], Degraded),
            (&[Online, Draining], Online),
            (&[Online, Offline], Online),
            (&[Error, Draining], Error),
        ] {
            assert_eq!(of_pool(true, members.iter().copied()), expected, "{members:?}");
            assert_eq!(of_pool(false, members.iter().copied()), Offline);
            let backwards = members.iter().rev().copied();
            assert_eq!(of_pool(true, backwards), expected, "order does not matter");
        }
    }

    #[test]
    fn of_listeners() {
        for pool in ALL.map(Some).into_iter().chain([None]) {
            for admission in [Admission::Open, Admission::Full] {
                assert_eq!(of_listener(false, admission, pool), Offline);
                let expected = match (pool, admission) {
                    (Some(Error), _) => Error,
                    (Some(Degraded), _) | (_, Admission::Full) => Degraded,
                    _ => Online,
                };
                assert_eq!(of_listener(true, admission, pool), expected, "{pool:?} {admission:?}");
            }
        }
    }

    #[test]
    fn of_load_balancers() {
        assert_eq!(of_load_balancer(true, []), Online);
        for first in [Online, Degraded, Error, Offline] {
            for second in [Online, Degraded, Error, Offline] {
                let listeners = [first, second];
                assert_eq!(of_load_balancer(false, listeners), Offline);
                let expected = if listeners.contains(&Error) {
                    Error
                } else if listeners.contains(&Degraded) {
                    Degraded
                } else {
                    Online
                };
                assert_eq!(of_load_balancer(true, listeners), expected, "{listeners:?}");
            }
        }
    }

    #[test]
    fn nobody_is_well_while_a_member_in_use_is_down() {
        let member = of_member(Administrative::Ready, Operational::Down);
        for others in ALL {
            let pool = of_pool(true, [member, others]);
            let listener = of_listener(true, Admission::Open, Some(pool));
            assert_ne!(of_load_balancer(true, [listener, Online]), Online);
        }
    }

    #[test]
    fn words_are_octavias() {
        for status in ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.to_string());
        }
    }
}
