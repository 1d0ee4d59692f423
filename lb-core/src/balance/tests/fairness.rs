//! Shares are as weights say, of many flows, of flows that last, and of a thousand members.

use super::*;

/// How far a share may be off over 20,000 different flows, as a part of the fair one and in flows.
fn tolerance(algorithm: &str) -> Option<f64> {
    match algorithm {
        a if a.contains("FIRST") => None,
        // As even as sixteen points for each unit of weight fall.
        a if a.contains("CONSISTENT") && !a.contains("balance_factor") => Some(0.6),
        a if a.contains("ROUND") || a.contains("STATIC") => Some(0.001),
        _ => Some(0.12),
    }
}

#[test]
fn shares_are_as_weights_say() {
    for algorithm in ALGORITHMS {
        let Some(tolerance) = tolerance(algorithm) else { continue };
        for weights in [&[1u16, 1, 1, 1][..], &[3, 2, 1], &[10, 20, 30, 40], &[256, 128, 64]] {
            let members: Vec<(u16, bool)> = weights.iter().map(|weight| (*weight, false)).collect();
            let snapshot = snapshot(algorithm, &members);
            let pool = &snapshot.pools[0];
            let mut got = vec![0u32; weights.len()];
            for client in 0..20_000 {
                let member = pick(pool, key(client), Millis(1), &Tried::default()).member().unwrap();
                got[usize::from(member.0)] += 1;
                // They last: what looks at load sees it.
                pool.member(member).state.enter();
                pool.cells.of(0).active.inc();
            }
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            for (got, weight) in got.iter().zip(weights) {
                let fair = 20_000.0 * f64::from(*weight) / total;
                let off = (f64::from(*got) - fair).abs();
                assert!(off <= fair * tolerance + 3.0, "{algorithm} {weights:?}: {got} instead of {fair}");
            }
        }
    }
}

#[test]
fn nobody_gets_more_than_the_bound_of_a_hash() {
    for table in ["CONSISTENT", "MAGLEV", "RENDEZVOUS"] {
        let algorithm = format!("lb_algorithm: RDP_COOKIE, hash: {{table: {table}, balance_factor: 125}}");
        let weights = [1u16, 2, 3, 4];
        let snapshot = snapshot(&algorithm, &weights.map(|weight| (weight, false)));
        let pool = &snapshot.pools[0];
        // A few keys that everybody asks for.
        for n in 0..1000u32 {
            let member = pick(pool, key(n % 3), Millis(1), &Tried::default()).member().unwrap();
            pool.member(member).state.enter();
            pool.cells.of(0).active.inc();
            for (slot, weight) in pool.members.iter().zip(weights) {
                let bound = f64::from(n + 1) * 1.25 * f64::from(weight) / 10.0 + 1.0;
                assert!(f64::from(slot.state.in_flight()) <= bound.ceil(), "{table}: over the bound at {n}");
            }
        }
        let used = pool.members.iter().filter(|slot| slot.state.in_flight() > 0).count();
        assert!(used >= 3, "{table}: what is over goes to others");
    }
}

/// Flows that last and end, on a thousand members: the longest line is hardly longer than when everybody is looked at.
#[test]
fn least_connections_of_a_thousand_is_nearly_exact() {
    let heavy_first = |i: usize| if i < 20 { 40u16 } else { 1 };
    let cases: [(&str, Vec<u16>); 2] =
        [("all alike", vec![1; 1000]), ("a few heavy ones in a row", (0..1000).map(heavy_first).collect())];
    for (name, weights) in cases {
        let members: Vec<(u16, bool)> = weights.iter().map(|weight| (*weight, false)).collect();
        let snapshot = snapshot("lb_algorithm: LEAST_CONNECTIONS", &members);
        let pool = &snapshot.pools[0];
        let total: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
        // Three for each unit of weight at a time; then one ends, somewhere, for each that begins.
        let flows = total * 3;
        let mut open = Vec::new();
        let begin = |open: &mut Vec<MemberIndex>| {
            let member = pick(pool, key(0), Millis(1), &Tried::default()).member().unwrap();
            pool.member(member).state.enter();
            open.push(member);
        };
        (0..flows).for_each(|_| begin(&mut open));
        for n in 0..u64::from(flows) * 4 {
            let member = open.swap_remove((mix(n) % open.len() as u64) as usize);
            let _ = pool.member(member).state.leave();
            begin(&mut open);
        }
        let line = |slot: &MemberSlot| f64::from(slot.state.in_flight()) / f64::from(slot.weight);
        let longest = pool.members.iter().filter(|slot| slot.weight == 1).map(line).fold(0.0, f64::max);
        assert!(longest <= 5.0, "{name}: a member has {longest} where three are fair");
        let heavy: Vec<f64> = pool.members.iter().filter(|slot| slot.weight > 1).map(line).collect();
        for line in heavy {
            assert!((2.4..=3.6).contains(&line), "{name}: a heavy member has {line} where three are fair");
        }
    }
}

/// Of more members than are compared every idle one is still found, and they take turns in the order of the document.
#[test]
fn idle_members_of_a_large_pool_take_turns() {
    let snapshot = snapshot("lb_algorithm: LEAST_CONNECTIONS", &vec![(1, false); 300]);
    let pool = &snapshot.pools[0];
    assert_eq!(picks(pool, 600), (0..300).chain(0..300).collect::<Vec<_>>());
    for slot in &pool.members {
        slot.state.enter();
    }
    let _ = pool.members[250].state.leave();
    let found = (0..300).position(|_| picks(pool, 1) == [250]).unwrap();
    assert!(found <= 10, "only the {found}th pick came across the idle one");
}

#[test]
fn random_keeps_lines_short() {
    let longest = |algorithm: &str| {
        let snapshot = snapshot(algorithm, &vec![(1, false); 200]);
        let pool = &snapshot.pools[0];
        for n in 0..2000 {
            let member = pick(pool, key(mix(n) as u32), Millis(1), &Tried::default()).member().unwrap();
            pool.member(member).state.enter();
        }
        pool.members.iter().map(|slot| slot.state.in_flight()).max().unwrap()
    };
    let (two_drawn, hashed) = (longest("lb_algorithm: RANDOM"), longest("lb_algorithm: RDP_COOKIE"));
    assert!(two_drawn <= 13, "{two_drawn} where ten are fair");
    assert!(hashed > 15, "{hashed}: one draw would do as well");
}

#[test]
fn the_only_candidate_is_asked_for_nothing() {
    for algorithm in ["lb_algorithm: RANDOM", "lb_algorithm: RDP_COOKIE"] {
        let one = snapshot(algorithm, &[(1, false), (0, false), (1, true)]);
        assert!(matches!(one.pools[0].asks, Asks::Nothing), "{algorithm}");
        let two = snapshot(algorithm, &[(1, false), (1, true), (1, true)]);
        assert!(!matches!(two.pools[0].asks, Asks::Nothing), "{algorithm}: there are two backups");
    }
}
