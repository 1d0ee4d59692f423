//! SOURCE_IP over real sockets, for requests and for relayed connections.

use std::net::{IpAddr, SocketAddr};

use serde_json::json;
use weir_tests::client::Client;
use weir_tests::setup::Mode;
use weir_tests::stage::Stage;
use weir_tests::wait::pause_ms;
use weir_tests::wait::{PATIENCE, until_true};

use super::{ask_on, both_worked, by, stage, stage_of};

/// Client `n`: another address of this machine.
fn address(n: u8) -> IpAddr {
    IpAddr::from([127, 99, 7, n])
}

fn from(n: u8, to: SocketAddr) -> String {
    by(&ask_on(&mut Client::connect_from(address(n), to), "/", ""))
}

/// Through a relay the member still says who it is: what it is asked is HTTP all the same.
fn whose(stage: &Stage, clients: u8) -> Vec<String> {
    (0..clients).map(|n| from(n, stage.vip())).collect()
}

#[test]
fn a_client_is_known_by_its_address_on_both_layers() {
    for mode in [Mode::Http, Mode::Tcp] {
        let mut stage = stage_of(mode, 3, json!({"type": "SOURCE_IP"}));
        let first = whose(&stage, 24);
        for member in ["m1", "m2", "m3"] {
            assert_eq!(first.iter().filter(|whose| *whose == member).count(), 8);
        }
        for _ in 0..3 {
            assert_eq!(whose(&stage, 24), first);
        }
        both_worked(&stage);
        // One dies: its clients move, all others stay; it comes back: nobody moves.
        stage.members[0].kill();
        let moved = whose(&stage, 24);
        for (before, after) in first.iter().zip(&moved) {
            assert_eq!(before == after, before != "m1");
        }
        stage.members[0].start();
        assert_eq!(whose(&stage, 24), moved);
        // Drained it keeps what it has.
        stage.apply(|setup| setup.members[1].weight = 0);
        assert_eq!(whose(&stage, 24), moved);
        stage.apply(|setup| setup.members.reverse());
        assert_eq!(whose(&stage, 24), moved);
        // A connection is counted a moment after its last byte.
        let known = || stage.weir.control.stats().pools[0].persistence.clone().unwrap();
        until_true(PATIENCE, "all to be counted", || known().hits == 24 * 7 - 8);
        let stats = known();
        assert_eq!((stats.kind.as_str(), stats.entries, stats.size), ("SOURCE_IP", 24, 10_240));
        assert_eq!((stats.misses, stats.moved, stats.hits), (24, 8, 24 * 7 - 8));
        assert!(stats.bytes > 0 && stats.evicted == 0 && stats.expired == 0);
        let flags = if mode == Mode::Http { " ---- " } else { " -- " };
        assert!(stage.weir.wait_log(24)[0].contains(flags), "no cookie, no flag");
    }
}

#[test]
fn networks_may_be_one_client() {
    let stage = stage(3, json!({"type": "SOURCE_IP", "persistence_granularity": "255.255.255.0"}));
    let all = whose(&stage, 12);
    assert!(all.iter().all(|whose| *whose == all[0]), "{all:?}");
    assert_eq!(stage.weir.control.stats().pools[0].persistence.as_ref().unwrap().entries, 1);
}

#[test]
fn a_full_table_forgets_whoever_was_away_for_longest() {
    let stage = stage(2, json!({"type": "SOURCE_IP", "table_size": 10}));
    whose(&stage, 30);
    // A table tells times apart that are further apart than this.
    pause_ms(70);
    let last: Vec<String> = (30..40).map(|n| from(n, stage.vip())).collect();
    let stats = stage.weir.control.stats().pools[0].persistence.clone().unwrap();
    assert_eq!((stats.entries, stats.size, stats.evicted), (10, 10, 30));
    assert_eq!((30..40).map(|n| from(n, stage.vip())).collect::<Vec<_>>(), last);
    from(0, stage.vip());
    let stats = stage.weir.control.stats().pools[0].persistence.clone().unwrap();
    assert_eq!((stats.hits, stats.misses), (10, 41));
}

#[test]
fn a_kept_connection_asks_for_each_request() {
    let mut stage = stage(2, json!({"type": "SOURCE_IP"}));
    let mut client = Client::connect_from(address(1), stage.vip());
    let mut ask = |stage: &Stage| {
        let _ = stage;
        by(&ask_on(&mut client, "/", ""))
    };
    let first = ask(&stage);
    assert!((0..5).all(|_| ask(&stage) == first));
    let its = stage.members.iter().position(|member| member.name() == first).unwrap();
    stage.apply(|setup| setup.members[its].admin_state_up = false);
    let second = ask(&stage);
    assert_ne!(second, first);
    stage.apply(|setup| setup.members[its].admin_state_up = true);
    assert!((0..5).all(|_| ask(&stage) == second));
}

#[test]
fn garbage_is_not_taken_up() {
    let stage = stage(2, json!({"type": "SOURCE_IP"}));
    let before = whose(&stage, 6);
    for garbage in [&b""[..], b"hello", b"WEIRPT01", &[0; 5000]] {
        let reply = stage.weir.control.must("PUT", "/v1/persistence", garbage);
        assert_eq!(reply.status, 422, "{}", reply.body);
        assert!(reply.body.contains("nothing was taken up"), "{}", reply.body);
    }
    assert_eq!(stage.weir.control.must("POST", "/v1/persistence", b"").status, 405);
    assert_eq!(whose(&stage, 6), before);
}
