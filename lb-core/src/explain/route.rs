//! Which pool serves, and who says so.

use crate::request::Parts;
use crate::snapshot::{ListenerSnapshot, PoolIndex};

/// Who chose a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Nobody: it is the listener's default pool, or there is none.
    ByDefault,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Whose members serve; `None`: nobody's.
    pub pool: Option<PoolIndex>,
    /// Who says so.
    pub chosen: Chosen,
}

/// Which pool of `listener` serves a request.
pub fn route(listener: &ListenerSnapshot, _parts: &impl Parts) -> Route {
    Route { pool: listener.pool, chosen: Chosen::ByDefault }
}
