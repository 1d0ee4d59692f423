//! The table against a model, and from several threads.

use std::collections::HashMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::id::MemberId;
use crate::persistence::table::{Expect, Handle, Key, Table};

fn table(size: u32, timeout_s: Option<u32>) -> (Table, Box<[Handle]>) {
    let table = Table::new(Secret::from_bytes(&[1; 16]).unwrap(), size, timeout_s);
    let handles = table.handles((0..8u8).map(|n| MemberId(Uuid::from_u128(n.into()))));
    (table, handles)
}

fn key(n: u64) -> Key {
    u128::from(n).to_be_bytes()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Find(u64),
    Peek(u64),
    Store(u64, usize),
    Absent(u64, usize),
    Held(u64, usize, usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (keys, members) = (0u64..40, 0usize..8);
    let step = prop_oneof![
        keys.clone().prop_map(Step::Find),
        keys.clone().prop_map(Step::Peek),
        (keys.clone(), members.clone()).prop_map(|(k, m)| Step::Store(k, m)),
        (keys.clone(), members.clone()).prop_map(|(k, m)| Step::Absent(k, m)),
        (keys, members.clone(), members).prop_map(|(k, a, b)| Step::Held(k, a, b)),
        (1u64..400).prop_map(|ticks| Step::Wait(ticks * 64)),
    ];
    prop::collection::vec(step, 0..400)
}

/// What the table promises, said with a map: member and last use of each key.
#[derive(Default)]
struct Model {
    entries: HashMap<u64, (Handle, u64)>,
    evicted: u64,
    expired: u64,
}

impl Model {
    fn live(&mut self, key: u64, now: u64, timeout_ms: u64) -> Option<Handle> {
        let (member, used) = *self.entries.get(&key)?;
        (now - used <= timeout_ms).then_some(member)
    }

    fn find(&mut self, key: u64, now: u64, timeout_ms: u64) -> Option<Handle> {
        let found = self.live(key, now, timeout_ms);
        match found {
            Some(member) => drop(self.entries.insert(key, (member, now))),
            None => self.expired += u64::from(self.entries.remove(&key).is_some()),
        }
        found
    }

    fn put(&mut self, key: u64, member: Handle, now: u64, size: usize, timeout_ms: u64) {
        if !self.entries.contains_key(&key) && self.entries.len() == size {
            let (oldest, (_, used)) = self.entries.iter().min_by_key(|(_, (_, used))| *used).unwrap();
            let (oldest, over) = (*oldest, now - used > timeout_ms);
            self.entries.remove(&oldest);
            *(if over { &mut self.expired } else { &mut self.evicted }) += 1;
        }
        self.entries.insert(key, (member, now));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_table_does_what_it_promises(steps in steps(), size in 1u32..30, timeout in prop::option::of(1u32..20)) {
        let (table, handles) = table(size, timeout);
        // A timeout is counted in whole ticks.
        let timeout_ms = timeout.map_or(u64::MAX, |s| (u64::from(s) * 1000) >> 6 << 6);
        let mut model = Model::default();
        let mut now = 0;
        for step in steps {
            // Every step at a time of its own, so that there is one order of last uses.
            now += 64;
            let at = Millis(now);
            match step {
                Step::Wait(ms) => now += ms,
                Step::Find(k) => {
                    prop_assert_eq!(table.find(&key(k), at, Touch::Refresh), model.find(k, now, timeout_ms));
                }
                Step::Peek(k) => {
                    prop_assert_eq!(table.find(&key(k), at, Touch::Peek), model.live(k, now, timeout_ms));
                }
                Step::Store(k, m) => {
                    table.store(&key(k), handles[m], Expect::Anything, at);
                    model.put(k, handles[m], now, size as usize, timeout_ms);
                }
                Step::Absent(k, m) => {
                    table.store(&key(k), handles[m], Expect::Absent, at);
                    if model.live(k, now, timeout_ms).is_none() {
                        model.put(k, handles[m], now, size as usize, timeout_ms);
                    }
                }
                Step::Held(k, before, m) => {
                    table.store(&key(k), handles[m], Expect::Held(handles[before]), at);
                    if model.entries.get(&k).is_none_or(|(member, _)| *member == handles[before]) {
                        model.put(k, handles[m], now, size as usize, timeout_ms);
                    }
                }
            }
            let figures = table.figures();
            prop_assert!(figures.entries <= size);
            prop_assert_eq!(figures.entries as usize, model.entries.len());
            prop_assert_eq!((figures.evicted, figures.expired), (model.evicted, model.expired));
        }
        for k in 0..40 {
            prop_assert_eq!(table.find(&key(k), Millis(now), Touch::Peek), model.live(k, now, timeout_ms));
        }
        table.sweep(Millis(now + (1 << 40)));
        prop_assert_eq!(table.figures().entries == 0, timeout.is_some() || model.entries.is_empty());
        prop_assert!(timeout.is_none() || table.figures().bytes == 0, "an empty table holds memory");
    }
}

#[test]
fn an_entry_takes_what_is_said() {
    let (table, handles) = table(1 << 20, None);
    assert_eq!(table.figures().bytes, 0, "nothing before the first");
    let mut most = 0;
    for n in 0..300_000u64 {
        table.store(&key(n), handles[0], Expect::Absent, Millis(n));
        let figures = table.figures();
        if n % 1000 == 999 && n > 20_000 {
            most = most.max(figures.bytes / u64::from(figures.entries));
        }
    }
    assert!((40..=54).contains(&most), "{most} bytes an entry");
}

#[test]
fn two_threads_never_pass_the_bound_and_agree() {
    let (table, handles) = table(500, None);
    let worker = |seed: u64| {
        let (table, handles) = (&table, &handles);
        move || {
            let mut x = seed;
            for n in 0..40_000u64 {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let k = (x >> 33) % 1000;
                // A key has one member only, whoever stores it.
                let its = handles[(k % 8) as usize];
                match table.find(&key(k), Millis(n), Touch::Refresh) {
                    Some(found) => assert_eq!(found, its),
                    None => table.store(&key(k), its, Expect::Absent, Millis(n)),
                }
                assert!(table.figures().entries <= 500);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=2).map(|seed| scope.spawn(worker(seed))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let mut counted = 0;
    table.read(Millis(40_000), |_, _, _| {
        counted += 1;
        true
    });
    assert_eq!((table.figures().entries, counted), (500, 500));
}
