//! Whether a request is sent once more: what its pool says, within what its budget allows.

use lb_core::config::retry::RetryOn;
use lb_core::snapshot::PoolIndex;

use crate::view::View;
use crate::worker::Worker;

/// Most attempts after the first, where the pool does not say (HAProxy: `retries 3`).
pub const RETRIES_MAX: u32 = 3;

/// Times a request that a member took without answering may be sent once more to another, where the pool does not say
/// more. Not more: it may be the request that fells them.
const MOVES_AFTER_SENDING_MAX: u32 = 1;

/// Counts a request for the budget of its pool, if it has one.
pub fn asked(worker: &Worker, view: &View, pool: PoolIndex) {
    if let Some(rules) = &view.pool(pool).retry {
        rules.budget.request(worker.now());
    }
}

/// True if an attempt that failed by `cause` may be followed by another, after so many `retries`. What the pool does not
/// say is safe by itself: connections, and members that closed without a word.
pub fn is_wanted(view: &View, pool: PoolIndex, cause: RetryOn, retries: u32) -> bool {
    match &view.pool(pool).retry {
        Some(rules) => rules.includes(cause) && retries < rules.attempts,
        None => matches!(cause, RetryOn::ConnectFailure | RetryOn::EmptyResponse) && retries < RETRIES_MAX,
    }
}

/// True if a request that so many members took may be given to one more.
pub fn may_move_on(view: &View, pool: PoolIndex, moves: u32) -> bool {
    view.pool(pool).retry.is_some() || moves < MOVES_AFTER_SENDING_MAX
}

/// Takes one retry out of the pool's budget; false if there is none left, which is counted.
pub fn claim(worker: &Worker, view: &View, pool: PoolIndex) -> bool {
    let allowed = view.pool(pool).retry.as_ref().is_none_or(|rules| rules.claim(worker.now()));
    if !allowed {
        view.pool_cell(pool).retries_denied.inc();
    }
    allowed
}
