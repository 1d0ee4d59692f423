//! A whole play in one line: some well-behaved members behind one Weir.

use std::net::SocketAddr;

use crate::member::Member;
use crate::place::Place;
use crate::setup::{Mode, Setup};
use crate::weir::Weir;

/// Members behind a running Weir; taken down front to back.
pub struct Stage {
    /// The data plane.
    pub weir: Weir,
    /// What it was told.
    pub setup: Setup,
    /// Who answers: `m1`, `m2`, …
    pub members: Vec<Member>,
    /// Where all this is.
    pub place: Place,
}

impl Stage {
    /// `count` well-behaved HTTP members; `tune` may change the setup before the start.
    pub fn http(count: usize, tune: impl FnOnce(&mut Setup)) -> Self {
        Self::with(Mode::Http, count, Member::http, tune)
    }

    /// `count` members made by `member`; `tune` may change the setup before the start.
    pub fn with(
        mode: Mode,
        count: usize,
        member: impl Fn(&str, SocketAddr) -> Member,
        tune: impl FnOnce(&mut Setup),
    ) -> Self {
        Self::started(mode, count, member, tune, Weir::start)
    }

    /// As [`Stage::with`]; `start` starts the data plane.
    pub fn started(
        mode: Mode,
        count: usize,
        member: impl Fn(&str, SocketAddr) -> Member,
        tune: impl FnOnce(&mut Setup),
        start: impl FnOnce(&Place, &Setup) -> Weir,
    ) -> Self {
        let place = Place::new();
        let members: Vec<Member> =
            (1..=count).map(|n| member(&format!("m{n}"), place.socket()).only_counting()).collect();
        let mut setup = Setup::new(mode, place.socket(), members.iter().map(|m| (m.name(), m.socket())));
        tune(&mut setup);
        let weir = start(&place, &setup);
        Self { weir, setup, members, place }
    }

    /// Where clients connect.
    pub fn vip(&self) -> SocketAddr {
        self.setup.vip
    }

    /// Requests each member has got.
    pub fn counts(&self) -> Vec<usize> {
        self.members.iter().map(Member::requests).collect()
    }

    /// Serves `setup` from now on.
    pub fn apply(&mut self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.setup);
        self.weir.control.apply(&self.setup.document(&self.place.path("access.log")));
    }
}
