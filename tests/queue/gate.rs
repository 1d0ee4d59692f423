//! Members that hold whoever comes until the test lets one go, and count how many they have at once.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use weir_tests::member::{Conn, Member, ok};
use weir_tests::message::End;
use weir_tests::wait::{PATIENCE, until_true};

/// Shared by all members that were made of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How many may still go.
    permits: usize,
    /// Nobody is held.
    open: bool,
    inside: usize,
    most: usize,
    order: Vec<String>,
}

impl Gate {
    /// An HTTP member.
    pub(super) fn http(&self, name: &str, at: SocketAddr) -> Member {
        let gate = self.clone();
        let tag = name.to_owned();
        Member::script(name, at, move |conn| {
            loop {
                let (head, _) = conn.request()?;
                gate.hold(head.word(1));
                conn.send(ok(&tag))?;
            }
        })
    }

    /// A member that says one byte and closes.
    pub(super) fn tcp(&self, name: &str, at: SocketAddr) -> Member {
        let gate = self.clone();
        Member::script(name, at, move |conn: &mut Conn| -> Result<(), End> {
            gate.hold("");
            conn.send("x")?;
            conn.close();
            Ok(())
        })
    }

    fn hold(&self, what: &str) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.inside += 1;
        state.most = state.most.max(state.inside);
        state.order.push(what.to_owned());
        // A test that has ended keeps nobody.
        let held = |state: &mut State| !state.open && state.permits == 0;
        (state, _) = self.0.changed.wait_timeout_while(state, 3 * PATIENCE, held).unwrap();
        state.permits = state.permits.saturating_sub(1);
        state.inside -= 1;
    }

    /// Lets so many go.
    pub(super) fn release(&self, n: usize) {
        self.0.state.lock().unwrap().permits += n;
        self.0.changed.notify_all();
    }

    /// Lets everybody go from now on.
    pub(super) fn open(&self) {
        self.0.state.lock().unwrap().open = true;
        self.0.changed.notify_all();
    }

    /// How many are held.
    pub(super) fn inside(&self) -> usize {
        self.0.state.lock().unwrap().inside
    }

    /// The most there ever were at once.
    pub(super) fn most(&self) -> usize {
        self.0.state.lock().unwrap().most
    }

    /// What was asked for, in the order it came.
    pub(super) fn order(&self) -> Vec<String> {
        self.0.state.lock().unwrap().order.clone()
    }

    pub(super) fn wait_inside(&self, n: usize) {
        until_true(PATIENCE, &format!("{n} to be held"), || self.inside() == n);
    }

    /// Waits until so many have come in all.
    pub(super) fn wait_seen(&self, n: usize) {
        until_true(PATIENCE, &format!("{n} to have come"), || self.order().len() >= n);
    }
}

impl Drop for Gate {
    /// Members that are taken down need not wait for those they hold.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.state.lock().unwrap_or_else(PoisonError::into_inner).open = true;
            self.0.changed.notify_all();
        }
    }
}
