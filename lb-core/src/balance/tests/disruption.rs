//! Who leaves, comes, or goes down moves only the keys that must move.

use super::*;

/// Hashes that promise it, with the part of other keys that may move when the document changes.
const STABLE: [(&str, f64); 5] = [
    ("lb_algorithm: SOURCE_IP", 0.0),
    ("lb_algorithm: SOURCE_IP_PORT", 0.0),
    ("lb_algorithm: SOURCE_IP, hash: {table: CONSISTENT}", 0.0),
    ("lb_algorithm: RDP_COOKIE, hash: {table: CONSISTENT}", 0.0),
    ("lb_algorithm: SOURCE_IP, hash: {table: MAGLEV}", 0.05),
];

const KEYS: u32 = 1000;

/// Names of whom keys go to.
fn owners(snapshot: &Snapshot) -> Vec<String> {
    let pool = &snapshot.pools[0];
    let owner = |client| pick(pool, key(client), Millis(1), &Tried::default()).member().unwrap();
    (0..KEYS).map(|client| pool.member(owner(client)).label.to_string()).collect()
}

fn without(config: &config::LoadBalancer, place: usize) -> config::LoadBalancer {
    let mut config = config.clone();
    config.pools[0].members.remove(place);
    config
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn only_keys_of_who_leaves_move_and_come_back(
        (algorithm, others) in prop::sample::select(STABLE.to_vec()),
        weights in prop::collection::vec(1u16..=10, 2..10),
        leaving in any::<prop::sample::Index>(),
    ) {
        let members: Vec<(u16, bool)> = weights.iter().map(|weight| (*weight, false)).collect();
        let leaving = leaving.index(members.len());
        let name = format!("m{leaving}");
        let config = config(algorithm, &members);
        let all = Snapshot::build(Arc::new(config.clone()), &Snapshot::empty(), 1);
        let before = owners(&all);

        // Down: exactly its keys move, with the tables as they are and with new ones.
        set_up(&all.pools[0], &[leaving], false);
        let down = owners(&all);
        for (was, is) in before.iter().zip(&down) {
            prop_assert!(was == is || *was == name, "{} moved to {}", was, is);
        }
        prop_assert!(!down.contains(&name));
        set_up(&all.pools[0], &[leaving], true);
        prop_assert_eq!(&owners(&all), &before);

        // Gone from the document, and back in it.
        let less = Snapshot::build(Arc::new(without(&config, leaving)), &all, 1);
        let gone = owners(&less);
        let moved = before.iter().zip(&gone).filter(|(was, is)| **was != name && was != is).count();
        prop_assert!(moved as f64 <= others * f64::from(KEYS), "{} others moved", moved);
        let again = Snapshot::build(Arc::new(config), &less, 1);
        prop_assert_eq!(&owners(&again), &before);
    }

    #[test]
    fn a_share_that_shrinks_moves_only_its_own_keys(
        (algorithm, others) in prop::sample::select(STABLE.to_vec()),
        weights in prop::collection::vec(1u16..=10, 2..10),
        permille in 10u32..1000,
    ) {
        let members: Vec<(u16, bool)> = weights.iter().map(|weight| (*weight, false)).collect();
        let all = snapshot(algorithm, &members);
        let before = owners(&all);
        all.pools[0].members[0].state.set_share_permille(permille);
        let after = owners(&all.rebuilt().unwrap_or(all));
        let moved = before.iter().zip(&after).filter(|(was, is)| *was != "m0" && was != is).count();
        // A Maglev table is laid out for other shares: some of everybody's places change hands.
        let allowed = if others > 0.0 { 0.25 } else { 0.0 };
        prop_assert!(moved as f64 <= allowed * f64::from(KEYS), "{} others moved", moved);
    }

    /// HAProxy's table is of those that are up: after the next compilation keys go where a document without the member
    /// would send them.
    #[test]
    fn a_map_is_of_those_that_are_up(
        weights in prop::collection::vec(1u16..=10, 2..10),
        leaving in any::<prop::sample::Index>(),
    ) {
        let algorithm = "lb_algorithm: SOURCE_IP, hash: {table: MAP}";
        let members: Vec<(u16, bool)> = weights.iter().map(|weight| (*weight, false)).collect();
        let leaving = leaving.index(members.len());
        let config = config(algorithm, &members);
        let all = Snapshot::build(Arc::new(config.clone()), &Snapshot::empty(), 1);
        let before = owners(&all);
        set_up(&all.pools[0], &[leaving], false);
        // Until then only its own keys are moved.
        let name = format!("m{leaving}");
        for (was, is) in before.iter().zip(owners(&all)) {
            prop_assert!(*was == is || *was == name);
        }
        let down = all.rebuilt().unwrap();
        prop_assert!(down.rebuilt().is_none());
        let gone = Snapshot::build(Arc::new(without(&config, leaving)), &Snapshot::empty(), 1);
        prop_assert_eq!(owners(&down), owners(&gone));
        set_up(&down.pools[0], &[leaving], true);
        let up = down.rebuilt().unwrap();
        prop_assert_eq!(owners(&up), before);
    }
}

#[test]
fn who_is_up_is_nobody_elses_business() {
    for algorithm in ["lb_algorithm: ROUND_ROBIN", "lb_algorithm: SOURCE_IP", "lb_algorithm: RANDOM"] {
        let snapshot = snapshot(algorithm, &[(1, false), (1, false)]);
        set_up(&snapshot.pools[0], &[0], false);
        assert!(snapshot.rebuilt().is_none(), "{algorithm}: compiled anew for nothing");
    }
}

#[test]
fn tables_are_taken_again_when_nothing_changed() {
    let shared = |algorithm: &str, change: &dyn Fn(&mut config::LoadBalancer)| {
        let mut config = config(algorithm, &[(1, false), (2, false), (3, false)]);
        let before = Snapshot::build(Arc::new(config.clone()), &Snapshot::empty(), 1);
        change(&mut config);
        let after = Snapshot::build(Arc::new(config), &before, 1);
        match [&before, &after].map(|snapshot| &snapshot.pools[0].ordinary.balancer) {
            [Balancer::Hashed(old, _), Balancer::Hashed(new, _)] => old.shares_table_with(new),
            _ => panic!("two hashes"),
        }
    };
    for algorithm in
        ["lb_algorithm: SOURCE_IP, hash: {table: MAGLEV}", "lb_algorithm: SOURCE_IP, hash: {table: CONSISTENT}"]
    {
        assert!(shared(algorithm, &|_| ()), "{algorithm}: laid out for nothing");
        assert!(!shared(algorithm, &|config| config.pools[0].members[0].weight = 7), "{algorithm}: an old table");
        assert!(
            !shared(algorithm, &|config| config.pools[0].members.swap(0, 2)),
            "{algorithm}: members at other places"
        );
    }
}
