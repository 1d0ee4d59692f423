//! Names of things: UUIDs as Octavia has them, one type for each kind so that they cannot be swapped.
//!
//! An id that the operator left out is derived from the parent's id and the object's name, so the same
//! document read twice names the same objects, and counters and sessions survive a replaced document.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The root of all derived ids. Changing it would rename every object of every node: never do.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_3c52_93c4_4d0e_9a55_7765_6972_0001);

macro_rules! id_types {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The id an object gets when its document names none: the same parent and key give the same id.
            pub fn derived(parent: Uuid, key: &str) -> Self {
                Self(Uuid::new_v5(&parent, format!(concat!($kind, "\0{}"), key).as_bytes()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

id_types! {
    /// One load balancer: one document, one VIP, one data plane.
    LoadBalancerId = "loadbalancer";
    /// One listener of a load balancer.
    ListenerId = "listener";
    /// One pool of a load balancer.
    PoolId = "pool";
    /// One member of a pool.
    MemberId = "member";
    /// One health monitor of a pool.
    MonitorId = "healthmonitor";
    /// One L7 policy of a listener.
    L7PolicyId = "l7policy";
    /// One rule of an L7 policy.
    L7RuleId = "l7rule";
}

impl LoadBalancerId {
    /// The id of a load balancer whose document has none: derived from its name, else from its address.
    pub fn for_name(name_or_address: &str) -> Self {
        Self::derived(NAMESPACE, name_or_address)
    }
}
