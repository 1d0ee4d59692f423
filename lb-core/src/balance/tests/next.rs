//! Who would be picked is who is picked.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn a_preview_is_the_next_pick(
        algorithm in prop::sample::select(ALGORITHMS.to_vec()),
        members in prop::collection::vec((0u16..5, any::<bool>()), 1..12),
        turns in prop::collection::vec((any::<u32>(), 0usize..12, 0u8..5), 1..60),
        without in any::<bool>(),
        full in any::<bool>(),
    ) {
        let mut snapshot = if full { limited(algorithm, &members) } else { snapshot(algorithm, &members) };
        for slot in &snapshot.pools[0].members {
            slot.state.slots.set_document(full.then_some(3));
        }
        for (n, (client, at, what)) in turns.into_iter().enumerate() {
            let at = at % members.len();
            let state = &snapshot.pools[0].members[at].state;
            match what {
                0 => state.set_up(false),
                1 => state.set_up(true),
                2 => state.fault.failed(Millis(n as u64)),
                _ => {}
            }
            if what == 3 {
                snapshot = snapshot.rebuilt().unwrap_or(snapshot);
            }
            let pool = &snapshot.pools[0];
            let mut tried = Tried::default();
            if what == 4 {
                tried.note(MemberIndex(at as u16));
            }
            let mut key = key(client);
            key.hash = key.hash.filter(|_| !without);
            let now = Millis(n as u64);
            let expected = preview(pool, key, now, &tried);
            prop_assert_eq!(preview(pool, key, now, &tried), expected);
            let picked = pick(pool, key, now, &tried);
            prop_assert_eq!(picked, expected, "{} at turn {}", algorithm, n);
            if let Some(picked) = picked.member() {
                pool.member(picked).state.enter();
                pool.cells.of(0).active.inc();
            }
        }
    }
}
