//! Every interleaving of a few threads at the same slots and queue, tried by loom: no slot too many is ever taken, and
//! nobody waits for ever. Run by `cargo test -p lb-core --features loom limits::model`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use loom::future::block_on;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use super::*;
use crate::member::MemberState;
use crate::time::Millis;

struct Pool {
    state: Arc<MemberState>,
    queue: Arc<Queue>,
    /// Who is inside, counted apart.
    inside: AtomicU32,
}

fn pool(limit: u32) -> Arc<Pool> {
    let state = Arc::<MemberState>::default();
    state.slots.set_document(Some(limit));
    let queue = Arc::<Queue>::default();
    let place = Place {
        state: Arc::clone(&state),
        admin_state_up: true,
        takes_new_work: true,
        backup: false,
        effective_weight: 16,
    };
    queue.arrange(|| vec![place], true);
    Arc::new(Pool { state, queue, inside: AtomicU32::new(0) })
}

impl Pool {
    fn join(self: &Arc<Self>, bound: bool) -> Wait {
        let member = bound.then_some(&self.state);
        self.queue.join(Asking { member, not: None, max: None, now: Millis(1) }).unwrap()
    }

    /// In, and out again; waits if need be.
    fn visit(self: &Arc<Self>, bound: bool, limit: u32) {
        if !self.state.slots.try_enter() {
            match block_on(self.join(bound)) {
                Outcome::Granted(slot) => slot.keep(),
                Outcome::Nobody => panic!("it is up"),
            }
        }
        assert!(self.inside.fetch_add(1, Ordering::Relaxed) < limit, "one too many");
        self.inside.fetch_sub(1, Ordering::Relaxed);
        self.leave();
    }

    fn leave(&self) {
        if self.state.leave() {
            self.queue.freed(&self.state);
        }
    }

    fn is_at_rest(&self) {
        assert_eq!((self.state.in_flight(), self.queue.waiting()), (0, 0));
        assert!(self.state.slots.has_room(), "a mark was left behind");
    }
}

/// Tries every interleaving. Those of three threads would take too long: of them only those in which threads are
/// interrupted so many times at most.
fn model(interruptions: Option<usize>, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = interruptions;
    builder.check(f);
}

#[test]
fn two_come_and_go() {
    model(None, || {
        let pool = pool(1);
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || other.visit(false, 1));
        pool.visit(true, 1);
        thread.join().unwrap();
        pool.is_at_rest();
    });
}

#[test]
fn three_come_and_go() {
    for limit in [1, 2] {
        model(Some(2), move || {
            let pool = pool(limit);
            let threads = [false, true].map(|bound| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.visit(bound, limit))
            });
            pool.visit(false, limit);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            pool.is_at_rest();
        });
    }
}

/// One who waits leaves in the very moment in which the slot is handed to it: the next gets it.
#[test]
fn a_slot_granted_to_one_who_leaves_is_handed_on() {
    model(Some(3), || {
        let pool = pool(1);
        assert!(pool.state.slots.try_enter());
        let (gone, next) = (pool.join(false), pool.join(true));
        let leaver = thread::spawn(move || drop(gone));
        let inside = Arc::clone(&pool);
        let holder = thread::spawn(move || inside.leave());
        match block_on(next) {
            Outcome::Granted(slot) => drop(slot),
            Outcome::Nobody => panic!("it is up"),
        }
        leaver.join().unwrap();
        holder.join().unwrap();
        pool.is_at_rest();
    });
}

/// The only slot is taken for good; another is made while somebody comes to wait.
#[test]
fn a_raised_limit_wakes_who_waits() {
    model(None, || {
        let pool = pool(1);
        assert!(pool.state.slots.try_enter());
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || other.visit(false, 2));
        pool.state.slots.set_document(Some(2));
        pool.queue.recheck();
        thread.join().unwrap();
        pool.leave();
        pool.is_at_rest();
    });
}

/// The last member goes down while somebody comes to wait: it is told.
#[test]
fn nobody_waits_for_a_pool_that_is_gone() {
    model(None, || {
        let pool = pool(1);
        assert!(pool.state.slots.try_enter());
        let other = Arc::clone(&pool);
        let thread = thread::spawn(move || matches!(block_on(other.join(true)), Outcome::Nobody));
        pool.state.set_up(false);
        pool.queue.recheck();
        assert!(thread.join().unwrap());
        pool.leave();
        assert_eq!((pool.state.in_flight(), pool.queue.waiting()), (0, 0));
    });
}

/// Somebody leaves while another is polled and a third comes: who waited goes before who comes.
#[test]
fn a_newcomer_never_overtakes() {
    model(None, || {
        let pool = pool(1);
        assert!(pool.state.slots.try_enter());
        let mut wait = pin!(pool.join(false));
        let inside = Arc::clone(&pool);
        let holder = thread::spawn(move || inside.leave());
        let newcomer = pool.state.slots.try_enter();
        assert!(!newcomer, "somebody waits");
        let outcome = block_on(poll_fn(|cx| match Pin::as_mut(&mut wait).poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(outcome),
            Poll::Pending => Poll::Pending,
        }));
        assert!(matches!(outcome, Outcome::Granted(_)));
        drop(outcome);
        holder.join().unwrap();
        pool.is_at_rest();
    });
}
