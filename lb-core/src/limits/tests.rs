//! Slots and the queue as plain values: whoever waits longest gets what suits it, and nothing is lost or given twice.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::member::MemberState;
use crate::time::Millis;

const NOW: Millis = Millis(1_000);

fn place(state: &Arc<MemberState>, backup: bool) -> Place {
    Place { state: Arc::clone(state), admin_state_up: true, takes_new_work: true, backup, effective_weight: 16 }
}

/// Members with these limits, and their queue.
fn pool(limits: &[u32]) -> (Vec<Arc<MemberState>>, Arc<Queue>) {
    let states: Vec<Arc<MemberState>> = limits
        .iter()
        .map(|limit| {
            let state = Arc::<MemberState>::default();
            state.slots.set_document(Some(*limit));
            state
        })
        .collect();
    let queue = Arc::<Queue>::default();
    queue.arrange(|| states.iter().map(|state| place(state, false)).collect(), true);
    (states, queue)
}

fn join(queue: &Arc<Queue>, member: Option<&Arc<MemberState>>) -> Wait {
    queue.join(Asking { member, not: None, max: None, now: NOW }).unwrap()
}

fn poll(wait: &mut Wait) -> Poll<Outcome> {
    Pin::new(wait).poll(&mut Context::from_waker(Waker::noop()))
}

/// The member it got a slot of, by its place.
fn granted(wait: &mut Wait, states: &[Arc<MemberState>]) -> Option<usize> {
    match poll(wait) {
        Poll::Ready(Outcome::Granted(slot)) => {
            let member = states.iter().position(|state| slot.is_of(state));
            slot.keep();
            member
        }
        Poll::Ready(Outcome::Nobody) => panic!("somebody is up"),
        Poll::Pending => None,
    }
}

fn leave(queue: &Queue, state: &Arc<MemberState>) {
    if state.leave() {
        queue.freed(state);
    }
}

fn refused(wait: &mut Wait) -> bool {
    matches!(poll(wait), Poll::Ready(Outcome::Nobody))
}

#[test]
fn a_slot_goes_to_who_waited_longest_and_never_to_a_newcomer() {
    let (states, queue) = pool(&[1]);
    assert!(states[0].slots.try_enter() && !states[0].slots.try_enter());
    let (mut first, mut second) = (join(&queue, None), join(&queue, None));
    assert_eq!((first.ahead(), second.ahead(), queue.waiting()), (0, 1, 2));
    assert_eq!((granted(&mut second, &states), granted(&mut first, &states)), (None, None));
    leave(&queue, &states[0]);
    assert!(!states[0].slots.try_enter(), "a newcomer came in");
    assert_eq!((granted(&mut second, &states), granted(&mut first, &states)), (None, Some(0)));
    leave(&queue, &states[0]);
    assert_eq!((granted(&mut second, &states), queue.waiting()), (Some(0), 0));
    leave(&queue, &states[0]);
    assert!(states[0].slots.try_enter(), "nobody waits any more");
}

#[test]
fn who_leaves_hands_on_what_it_was_given() {
    let (states, queue) = pool(&[1]);
    states[0].enter();
    let (first, second, mut third) = (join(&queue, None), join(&queue, Some(&states[0])), join(&queue, None));
    drop(second);
    leave(&queue, &states[0]);
    assert_eq!(granted(&mut third, &states), None, "the first has it");
    drop(first);
    assert_eq!((granted(&mut third, &states), states[0].in_flight()), (Some(0), 1));
}

#[test]
fn bound_and_free_wait_in_one_order() {
    let (states, queue) = pool(&[1, 1]);
    states.iter().for_each(|state| state.enter());
    let mut bound = join(&queue, Some(&states[0]));
    let mut free = join(&queue, None);
    let mut late = join(&queue, Some(&states[1]));
    assert_eq!((bound.ahead(), free.ahead(), late.ahead(), queue.pinned_to(&states[0])), (0, 0, 0, 1));
    leave(&queue, &states[1]);
    assert_eq!((granted(&mut late, &states), granted(&mut bound, &states)), (None, None));
    assert_eq!(granted(&mut free, &states), Some(1), "it came before the one that is bound to this member");
    leave(&queue, &states[1]);
    leave(&queue, &states[0]);
    assert_eq!((granted(&mut bound, &states), granted(&mut late, &states)), (Some(0), Some(1)));
}

#[test]
fn a_newcomer_passes_over_a_member_somebody_waits_for_alone() {
    let (states, queue) = pool(&[1, 2]);
    states.iter().for_each(|state| state.enter());
    let _bound = join(&queue, Some(&states[0]));
    assert!(!states[0].slots.has_room() && states[1].slots.has_room());
    assert!(!queue.is_waited_for_any());
}

#[test]
fn a_limit_that_changes_holds_at_once() {
    let (states, queue) = pool(&[1]);
    states[0].enter();
    let mut waits: Vec<Wait> = (0..4).map(|_| join(&queue, None)).collect();
    states[0].slots.set_document(Some(3));
    queue.recheck();
    let got: Vec<_> = waits.iter_mut().map(|wait| granted(wait, &states)).collect();
    assert_eq!(got, [Some(0), Some(0), None, None]);
    states[0].slots.set_document(Some(2));
    leave(&queue, &states[0]);
    assert_eq!(granted(&mut waits[2], &states), None, "two are there already");
    states[0].slots.set_document(None);
    queue.recheck();
    assert_eq!((granted(&mut waits[2], &states), granted(&mut waits[3], &states)), (Some(0), Some(0)));
    assert_eq!((states[0].in_flight(), states[0].slots.limit()), (4, None));
}

#[test]
fn an_agent_lowers_a_limit_and_slow_start_grows_it() {
    let slots = Slots::default();
    for (document, asked, permille, limit) in [
        (None, None, 1000, None),
        (None, None, 10, None),
        (Some(20), None, 1000, Some(20)),
        (Some(20), Some(5), 1000, Some(5)),
        (Some(20), Some(50), 1000, Some(20)),
        (None, Some(5), 1000, Some(5)),
        (Some(20), Some(0), 500, Some(10)),
        (Some(20), None, 10, Some(1)),
        (Some(1), None, 999, Some(1)),
        (Some(2_147_483_647), None, 1000, Some(2_147_483_647)),
    ] {
        slots.set_document(document);
        slots.set_asked(asked, permille);
        assert_eq!(slots.limit(), limit, "{document:?} {asked:?} {permille}");
    }
}

#[test]
fn who_waits_for_a_member_that_went_down_waits_for_any() {
    let (states, queue) = pool(&[1, 1]);
    states.iter().for_each(|state| state.enter());
    let mut bound = join(&queue, Some(&states[0]));
    let mut free = join(&queue, None);
    states[0].set_up(false);
    queue.recheck();
    leave(&queue, &states[0]);
    assert_eq!((granted(&mut bound, &states), granted(&mut free, &states)), (None, None), "nobody goes there");
    leave(&queue, &states[1]);
    assert_eq!((granted(&mut free, &states), granted(&mut bound, &states)), (None, Some(1)), "it came first");
    states[1].set_up(false);
    queue.recheck();
    assert!(refused(&mut free), "nobody is left");
    assert!(refused(&mut join(&queue, None)) && refused(&mut join(&queue, Some(&states[0]))));
    states[0].set_up(true);
    queue.recheck();
    assert_eq!(granted(&mut join(&queue, None), &states), Some(0));
}

#[test]
fn members_come_and_go_while_somebody_waits() {
    let (states, queue) = pool(&[1, 1, 1]);
    states.iter().for_each(|state| state.enter());
    let places = |which: &[usize]| which.iter().map(|i| place(&states[*i], false)).collect::<Vec<_>>();
    queue.arrange(|| places(&[0, 1]), true);
    let mut bound = join(&queue, Some(&states[0]));
    let mut free = join(&queue, None);
    // Gone: whoever was bound to it is not.
    queue.arrange(|| places(&[1]), true);
    assert!(!states[0].leave(), "the mark is gone with it");
    assert_eq!((granted(&mut bound, &states), queue.pinned_to(&states[0])), (None, 0));
    // New: it is used at once.
    leave(&queue, &states[2]);
    queue.arrange(|| places(&[2, 1]), true);
    assert_eq!((granted(&mut free, &states), granted(&mut bound, &states)), (None, Some(2)));
    // Drained: what it is doing ends, and nobody else comes.
    let drained = || vec![Place { takes_new_work: false, ..place(&states[2], false) }, place(&states[1], false)];
    queue.arrange(drained, true);
    leave(&queue, &states[2]);
    assert_eq!(granted(&mut free, &states), None);
    let mut kept = join(&queue, Some(&states[2]));
    assert_eq!(granted(&mut kept, &states), Some(2), "persistence reaches one that drains");
    leave(&queue, &states[1]);
    assert_eq!(granted(&mut free, &states), Some(1));
}

#[test]
fn memory_is_given_back_when_limits_are_gone() {
    let (states, queue) = pool(&[1]);
    states[0].enter();
    let mut wait = join(&queue, None);
    states[0].slots.set_document(None);
    queue.arrange(|| vec![place(&states[0], false)], false);
    assert!(!queue.is_new(), "one has yet to notice");
    assert_eq!(granted(&mut wait, &states), Some(0));
    queue.arrange(|| vec![place(&states[0], false)], false);
    assert!(queue.is_new());
}

#[test]
fn backups_stand_in_only_when_no_ordinary_member_is_up() {
    let (states, queue) = pool(&[1, 1]);
    queue.arrange(|| vec![place(&states[0], false), place(&states[1], true)], true);
    states[0].enter();
    let mut wait = join(&queue, None);
    assert_eq!(granted(&mut wait, &states), None, "a full member is no reason");
    states[0].set_up(false);
    queue.recheck();
    assert_eq!(granted(&mut wait, &states), Some(1));
}

#[test]
fn a_member_that_fails_is_tried_by_one_at_a_time() {
    let (states, queue) = pool(&[1, 3]);
    states[0].enter();
    states[1].fault.failed(NOW);
    let (mut first, mut second) = (join(&queue, None), join(&queue, None));
    assert_eq!((granted(&mut first, &states), granted(&mut second, &states)), (None, None));
    queue.look(NOW.after(crate::member::fault::AVOID_FIRST_MS));
    assert_eq!((granted(&mut first, &states), granted(&mut second, &states)), (Some(1), None));
    // While all fail there is nothing better.
    states[0].fault.failed(NOW);
    queue.recheck();
    assert_eq!(granted(&mut second, &states), Some(1));
}

#[test]
fn who_was_failed_by_a_member_goes_to_another() {
    let (states, queue) = pool(&[1, 1]);
    states.iter().for_each(|state| state.enter());
    let not = |state| Asking { member: None, not: Some(state), max: None, now: NOW };
    let mut failed = queue.join(not(&states[0])).unwrap();
    let mut other = join(&queue, None);
    leave(&queue, &states[0]);
    assert_eq!((granted(&mut failed, &states), granted(&mut other, &states)), (None, Some(0)));
    leave(&queue, &states[1]);
    assert_eq!(granted(&mut failed, &states), Some(1));
    leave(&queue, &states[0]);
    states[1].set_up(false);
    assert_eq!(granted(&mut queue.join(not(&states[0])).unwrap(), &states), Some(0), "there is no other");
}

#[test]
fn no_more_wait_than_may() {
    let (states, queue) = pool(&[1]);
    states[0].enter();
    let ask = |max| queue.join(Asking { member: None, not: None, max: Some(max), now: NOW });
    assert_eq!(ask(0).unwrap_err(), QueueFull);
    let first = ask(2).unwrap();
    let _second = ask(2).unwrap();
    assert_eq!(ask(2).unwrap_err(), QueueFull);
    drop(first);
    assert!(ask(2).is_ok());
    assert_eq!(queue.longest_ms(NOW.after(70)), 70);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Somebody comes: for that member, or for any.
    Arrive(Option<usize>),
    /// One of those inside leaves.
    Leave(usize),
    /// One of those who wait leaves.
    GiveUp(usize),
    /// The limit of a member is another.
    Limit(usize, u32),
    /// A member goes down or comes up.
    Turn(usize, bool),
}

const MEMBERS: usize = 3;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::option::weighted(0.4, 0..MEMBERS).prop_map(Step::Arrive),
        5 => any::<usize>().prop_map(Step::Leave),
        2 => any::<usize>().prop_map(Step::GiveUp),
        1 => (0..MEMBERS, 1u32..4).prop_map(|(member, limit)| Step::Limit(member, limit)),
        1 => (0..MEMBERS, prop::bool::weighted(0.7)).prop_map(|(member, up)| Step::Turn(member, up)),
    ];
    prop::collection::vec(step, 1..120)
}

/// The same pool kept by a slow and simple mind: a list of who waits, looked through from its beginning.
#[derive(Debug, Default)]
struct Simple {
    taken: [u32; MEMBERS],
    limits: [u32; MEMBERS],
    down: [bool; MEMBERS],
    /// Who waits (by number), and for whom.
    waiting: Vec<(usize, Option<usize>)>,
}

impl Simple {
    fn has_room(&self, member: usize) -> bool {
        !self.down[member] && self.taken[member] < self.limits[member]
    }

    /// The first who could go to that member.
    fn first(&self, member: usize) -> Option<usize> {
        self.waiting.iter().position(|(_, pin)| pin.is_none_or(|pin| pin == member))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn who_waits_longest_gets_what_suits_it(steps in steps(), limits in prop::array::uniform3(1u32..4)) {
        let (states, queue) = pool(&limits);
        let mut simple = Simple { limits, ..Simple::default() };
        let mut waits: Vec<(usize, Wait)> = Vec::new();
        let mut inside: Vec<usize> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Arrive(bound) => {
                    let bound = bound.filter(|member| !simple.down[*member]);
                    let fits: Vec<usize> = (0..MEMBERS).filter(|m| bound.is_none_or(|b| b == *m)).collect();
                    let entered = fits.iter().copied().find(|m| states[*m].up() && states[*m].slots.try_enter());
                    let may = fits.iter().any(|m| simple.has_room(*m) && simple.first(*m).is_none());
                    prop_assert_eq!(entered.is_some(), may, "{:?} {:?}", entered, simple);
                    match entered {
                        Some(member) => {
                            simple.taken[member] += 1;
                            inside.push(member);
                        }
                        None => {
                            let wait = join(&queue, bound.map(|member| &states[member]));
                            let same = |(_, pin): &&(usize, Option<usize>)| *pin == bound;
                            prop_assert_eq!(wait.ahead() as usize, simple.waiting.iter().filter(same).count());
                            waits.push((number, wait));
                            simple.waiting.push((number, bound));
                        }
                    }
                }
                Step::Leave(which) if !inside.is_empty() => {
                    let member = inside.swap_remove(which % inside.len());
                    simple.taken[member] -= 1;
                    leave(&queue, &states[member]);
                }
                Step::GiveUp(which) if !waits.is_empty() => {
                    let (number, wait) = waits.remove(which % waits.len());
                    simple.waiting.retain(|(known, _)| *known != number);
                    drop(wait);
                }
                Step::Limit(member, limit) => {
                    simple.limits[member] = limit;
                    states[member].slots.set_document(Some(limit));
                    queue.recheck();
                }
                Step::Turn(member, up) => {
                    simple.down[member] = !up;
                    states[member].set_up(up);
                    queue.recheck();
                    if !up {
                        let bound = simple.waiting.iter_mut().filter(|(_, pin)| *pin == Some(member));
                        bound.for_each(|(_, pin)| *pin = None);
                    }
                }
                Step::Leave(_) | Step::GiveUp(_) => {}
            }
            let nobody_left = simple.down == [true; MEMBERS];
            let mut got = Vec::new();
            for (number, mut wait) in std::mem::take(&mut waits) {
                match poll(&mut wait) {
                    Poll::Pending => waits.push((number, wait)),
                    Poll::Ready(Outcome::Nobody) => {
                        prop_assert!(nobody_left);
                        simple.waiting.retain(|(known, _)| *known != number);
                    }
                    Poll::Ready(Outcome::Granted(slot)) => {
                        let member = states.iter().position(|state| slot.is_of(state)).unwrap();
                        slot.keep();
                        got.push((number, member));
                    }
                }
            }
            // Each got a slot there was, before everybody behind it.
            for (number, member) in got {
                prop_assert!(simple.has_room(member), "{member} was full: {simple:?}");
                let first = simple.first(member).map(|place| simple.waiting[place].0);
                prop_assert_eq!(first, Some(number), "overtook somebody for {}: {:?}", member, simple);
                simple.waiting.retain(|(known, _)| *known != number);
                simple.taken[member] += 1;
                inside.push(member);
            }
            // And nobody waits for what is there.
            for member in (0..MEMBERS).filter(|member| simple.has_room(*member)) {
                prop_assert_eq!(simple.first(member), None, "{} has room: {:?}", member, simple);
            }
            prop_assert_eq!(queue.waiting() as usize, simple.waiting.len());
            for (state, taken) in states.iter().zip(simple.taken) {
                prop_assert_eq!(state.in_flight(), taken);
            }
        }
    }
}
