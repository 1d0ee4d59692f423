//! One member, several voices.

use proptest::prelude::*;

use super::pool;
use crate::config::Pool;
use crate::health::{
    Administrative, AgentLine, Bad, Cause, Change, Good, Judgement, Operational, Outcome, Pace, ProbeResult, Standing,
    Step, Tally, Turn, agent_line,
};
use crate::id::MonitorId;
use crate::time::Millis;

/// Two monitors, `a` (rise 2, fall 3) and `b` (rise 1, fall 2), each with 1 s of timeout.
fn two() -> Pool {
    pool(
        "slow_start: 10\n    healthmonitors:\n    \
         - {name: a, type: TCP, delay: 2, timeout: 1, max_retries: 2, max_retries_down: 3}\n    \
         - {name: b, type: HTTP, delay: 2, timeout: 1, max_retries: 1, max_retries_down: 2}",
    )
}

fn ids(pool: &Pool) -> Vec<MonitorId> {
    pool.monitors.iter().map(|monitor| monitor.id).collect()
}

fn good() -> ProbeResult {
    ProbeResult { outcome: Outcome::Passed(Good::Connected), took_us: 900 }
}

fn bad() -> ProbeResult {
    ProbeResult { outcome: Outcome::Failed(Bad::Connect(111)), took_us: 900 }
}

fn timeout(took_us: u32) -> ProbeResult {
    ProbeResult { outcome: Outcome::Failed(Bad::Timeout(Step::Connect)), took_us }
}

fn line(said: &str) -> AgentLine {
    agent_line::parse(said.as_bytes()).unwrap()
}

fn change(turn: Option<Turn>) -> Option<Change> {
    turn.map(|turn| turn.change)
}

#[test]
fn up_only_while_all_agree_and_the_cause_is_known() {
    let pool = two();
    let [a, b] = ids(&pool)[..] else { panic!() };
    let mut member = Judgement::new(&pool.monitors, Millis(0));
    assert!(member.is_up() && member.cause().is_none(), "nothing is known");
    for monitor in [a, b] {
        assert_eq!(member.heard(monitor, good(), Millis(10)), None);
    }
    assert_eq!(member.heard(a, bad(), Millis(20)), None);
    assert_eq!(member.heard(b, bad(), Millis(30)), None);
    let down = member.heard(b, bad(), Millis(40)).unwrap();
    assert_eq!(down.change, Change::WentDown);
    let tally = Some(Tally { in_a_row: 2, of: 2 });
    assert_eq!(down.cause, Cause::Probe { monitor: b, result: bad(), tally });
    assert_eq!(down.cause.words(&pool.monitors), "b: connection refused, 2 of 2, 0 ms");
    assert_eq!((member.is_up(), member.since(), member.cause()), (false, Millis(40), Some(&down.cause)));
    assert_eq!(member.operational(0, Millis(41)), Operational::Down);
    // The other one goes down as well: no news. Then they come back one by one.
    assert_eq!(member.heard(a, bad(), Millis(50)), None);
    assert_eq!(member.heard(a, bad(), Millis(51)), None);
    assert_eq!(member.heard(b, good(), Millis(60)), None, "a still says no");
    assert_eq!(member.heard(a, good(), Millis(70)), None);
    assert_eq!(change(member.heard(a, good(), Millis(80))), Some(Change::CameUp));
    assert_eq!(member.operational(10_000, Millis(90)), Operational::Starting);
    assert_eq!(member.operational(10_000, Millis(10_080)), Operational::Up);
    assert_eq!(member.watches()[0].last.as_ref().map(|last| last.at), Some(Millis(80)));
}

#[test]
fn a_member_nobody_asks_has_no_check() {
    let mut off = two();
    off.monitors.iter_mut().for_each(|monitor| monitor.admin_state_up = false);
    let member = Judgement::new(&off.monitors, Millis(0));
    assert_eq!(member.operational(0, Millis(1)), Operational::NoCheck);
    assert!(member.is_up() && member.watches().is_empty());
    assert_eq!(member.pace(off.monitors[0].id), None);
}

#[test]
fn what_was_our_fault_does_not_count() {
    let pool = two();
    let a = ids(&pool)[0];
    let mut member = Judgement::new(&pool.monitors, Millis(0));
    let ours = ProbeResult { outcome: Outcome::Failed(Bad::Ours(24)), took_us: 5 };
    for _ in 0..20 {
        assert_eq!(member.heard(a, ours.clone(), Millis(1)), None);
    }
    assert_eq!(member.watches()[0].machine.standing(), Standing::Unasked);
    assert_eq!(member.watches()[0].last.as_ref().map(|last| last.result.clone()), Some(ours), "and is shown");
    // A machine that slept through the timeout: once it is doubted, twice it is not.
    assert_eq!(member.heard(a, timeout(3_600_000), Millis(2)), None);
    assert_eq!(member.watches()[0].machine.standing(), Standing::Unasked);
    assert_eq!(change(member.heard(a, timeout(3_600_000), Millis(3))), Some(Change::WentDown));
    let mut member = Judgement::new(&pool.monitors, Millis(0));
    assert_eq!(change(member.heard(a, timeout(1_010_000), Millis(2))), Some(Change::WentDown), "an ordinary one");
}

#[test]
fn suspicion_counts_once_for_every_monitor() {
    let pool = two();
    let [a, b] = ids(&pool)[..] else { panic!() };
    let mut member = Judgement::new(&pool.monitors, Millis(0));
    member.heard(a, good(), Millis(1));
    member.heard(b, good(), Millis(1));
    assert_eq!(member.suspected(10, Millis(2)), None);
    assert_eq!((member.pace(a), member.pace(b)), (Some(Pace::Fast), Some(Pace::Fast)));
    member.heard(a, good(), Millis(3));
    assert_eq!(member.pace(a), Some(Pace::Normal), "one good answer clears it");
    let down = member.suspected(10, Millis(4)).unwrap();
    assert_eq!((down.change, &down.cause), (Change::WentDown, &Cause::Traffic { failures: 10 }));
    assert_eq!(down.cause.words(&pool.monitors), "10 failures of live traffic in a row");
    let before = member.clone();
    assert_eq!(member.suspected(10, Millis(5)), None);
    assert_eq!(member, before, "it is down: no news");
}

#[test]
fn the_agent_has_a_say_of_its_own() {
    let pool = two();
    let member = &pool.members[0];
    let a = ids(&pool)[0];
    let mut judged = Judgement::new(&pool.monitors, Millis(0));
    assert_eq!(judged.agent_said(line("up 50%"), Millis(1)), None);
    assert_eq!(judged.share_permille(&pool, member, Millis(1)), 500);
    let down = judged.agent_said(line("down # disk full"), Millis(2)).unwrap();
    assert_eq!(down.cause.words(&pool.monitors), "its agent says down: disk full");
    assert_eq!(judged.heard(a, good(), Millis(3)), None, "monitors cannot overrule it");
    assert_eq!(judged.agent_said(line("75%"), Millis(4)), None, "a weight is no word on health");
    assert!(!judged.is_up());
    assert_eq!(change(judged.agent_said(line("up"), Millis(5))), Some(Change::CameUp));
    // 75 % of slow start's 50 %.
    assert_eq!(judged.share_permille(&pool, member, Millis(5005)), 375);
    for (said, administrative, share) in [
        ("drain", Administrative::Drain, 0),
        ("maint", Administrative::Maint, 0),
        ("ready 100%", Administrative::Ready, 1000),
        ("0%", Administrative::Drain, 0),
        ("weight:4", Administrative::Ready, 4000),
        ("65535%", Administrative::Ready, 256_000),
    ] {
        judged.agent_said(line(said), Millis(60_000));
        assert_eq!(judged.administrative(&pool, member), administrative, "{said}");
        assert_eq!(judged.share_permille(&pool, member, Millis(60_000)), share, "{said}");
    }
    assert_eq!(change(judged.agent_said(line("stopped"), Millis(60_001))), Some(Change::WentDown));
    assert_eq!(
        change(judged.reloaded(&pool.monitors, false, Millis(60_002))),
        Some(Change::CameUp),
        "no agent any more"
    );
}

#[test]
fn slow_start_is_for_those_who_were_away() {
    let pool = two();
    let member = &pool.members[0];
    let [a, _] = ids(&pool)[..] else { panic!() };
    let mut judged = Judgement::new(&pool.monitors, Millis(0));
    assert_eq!(judged.share_permille(&pool, member, Millis(1)), 1000, "the process began");
    assert_eq!(judged.next_share_at(10_000, Millis(1)), None);
    judged.heard(a, bad(), Millis(10));
    judged.heard(a, good(), Millis(20));
    judged.heard(a, good(), Millis(1000));
    assert_eq!(judged.share_permille(&pool, member, Millis(1000)), 10);
    assert_eq!(judged.next_share_at(10_000, Millis(1000)), Some(Millis(1500)));
    assert_eq!(judged.share_permille(&pool, member, Millis(6000)), 500);
    assert_eq!(judged.share_permille(&pool, member, Millis(11_000)), 1000);
    assert_eq!(judged.left_maintenance(Millis(20_000)), None);
    assert_eq!(judged.share_permille(&pool, member, Millis(20_000)), 10);
    assert_eq!(judged.watches()[0].machine.standing(), Standing::Unasked, "as HAProxy: up, one failure to go");
    judged.heard(a, bad(), Millis(20_001));
    assert_eq!(change(judged.left_maintenance(Millis(30_000))), Some(Change::CameUp));
}

#[test]
fn a_reload_asks_nobody_anew() {
    let pool = two();
    let [a, b] = ids(&pool)[..] else { panic!() };
    let mut member = Judgement::new(&pool.monitors, Millis(0));
    member.heard(a, bad(), Millis(1));
    member.heard(b, good(), Millis(1));
    // Other rules, another one more.
    let mut other = pool.clone();
    (other.monitors[0].max_retries, other.monitors[0].max_retries_down) = (5, 1);
    let mut new = other.monitors[1].clone();
    new.id = MonitorId::derived(other.id.0, "new");
    other.monitors.push(new);
    assert_eq!(member.reloaded(&other.monitors, false, Millis(2)), None);
    assert!(!member.is_up());
    assert_eq!(member.standings()[0], (a, Standing::Down { good_in_a_row: 0, of: 5 }));
    // All monitors replaced: a member that was down is not up again because nobody knows it yet.
    let mut replaced = other.clone();
    replaced.monitors.drain(..2);
    assert_eq!(member.reloaded(&replaced.monitors, false, Millis(3)), None);
    let new = replaced.monitors[0].id;
    assert_eq!(change(member.heard(new, good(), Millis(4))), Some(Change::CameUp));
    // The one that said no has no say any more.
    member.heard(new, bad(), Millis(5));
    member.heard(new, bad(), Millis(6));
    let up = member.reloaded(&[], false, Millis(7)).unwrap();
    assert_eq!((up.change, up.cause), (Change::CameUp, Cause::Document));
    assert_eq!(member.operational(0, Millis(8)), Operational::NoCheck);
}

#[test]
fn another_process_goes_on_from_there() {
    let pool = two();
    let [a, b] = ids(&pool)[..] else { panic!() };
    let mut member = Judgement::new(&pool.monitors, Millis(0));
    member.heard(a, good(), Millis(1));
    member.heard(a, bad(), Millis(1));
    member.heard(b, bad(), Millis(1));
    let json = serde_json::to_string(&member.standings()).unwrap();
    let standings: Vec<(MonitorId, Standing)> = serde_json::from_str(&json).unwrap();
    let next = Judgement::resumed(&pool.monitors, &standings, Millis(0));
    assert_eq!(next.standings(), member.standings());
    assert!(!next.is_up());
    assert_eq!(next.share_permille(&pool, &pool.members[0], Millis(0)), 1000);
}

/// What may happen to a member.
#[derive(Clone, Debug)]
enum Event {
    Answer(usize, bool),
    Suspected,
    Said(&'static str),
    Reload(u8, u8, usize),
    Maintained,
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0usize..2, any::<bool>()).prop_map(|(monitor, passed)| Event::Answer(monitor, passed)),
        1 => Just(Event::Suspected),
        2 => prop::sample::select(vec!["up", "down", "50%", "drain", "ready"]).prop_map(Event::Said),
        1 => (1u8..=10, 1u8..=10, 0usize..=2).prop_map(|(rise, fall, n)| Event::Reload(rise, fall, n)),
        1 => Just(Event::Maintained),
    ]
}

proptest! {
    #[test]
    fn the_verdict_is_always_what_its_voices_say(events in prop::collection::vec(events(), 0..80)) {
        let pool = two();
        let ids = ids(&pool);
        let mut member = Judgement::new(&pool.monitors, Millis(0));
        for (now, event) in events.into_iter().enumerate() {
            let now = Millis(now as u64 * 100);
            let was_up = member.is_up();
            let turn = match event.clone() {
                Event::Answer(monitor, passed) => member.heard(ids[monitor], if passed { good() } else { bad() }, now),
                Event::Suspected => member.suspected(3, now),
                Event::Said(said) => member.agent_said(line(said), now),
                Event::Reload(rise, fall, count) => {
                    let mut monitors = pool.monitors.clone();
                    monitors.truncate(count);
                    for monitor in &mut monitors {
                        (monitor.max_retries, monitor.max_retries_down) = (rise, fall);
                    }
                    let turn = member.reloaded(&monitors, true, now);
                    prop_assert!(turn.as_ref().is_none_or(|t| t.change == Change::CameUp && count < 2), "flapped");
                    turn
                }
                Event::Maintained => member.left_maintenance(now),
            };
            let voices = member.watches().iter().all(|watch| watch.machine.is_up());
            let agent = member.agent().health.is_none_or(|health| health.is_up());
            prop_assert_eq!(member.is_up(), voices && agent, "{:?}", event);
            let turned = turn.map(|turn| turn.change == Change::CameUp);
            prop_assert_eq!(turned, (was_up != member.is_up()).then_some(member.is_up()));
            prop_assert!(member.share_permille(&pool, &pool.members[0], now) <= 256_000);
            prop_assert_eq!(member.operational(0, now).is_up(), member.is_up());
        }
    }
}
