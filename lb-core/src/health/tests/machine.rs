//! Rise and fall, against HAProxy's sequences and against the plain telling.

use proptest::prelude::*;

use crate::health::{Change, Machine, Pace, Rules, Standing, Tally};

const RULES: Rules = Rules { rise: 2, fall: 3 };

/// Plays `+` and `-`; after each answer `U` or `D`.
fn play(machine: &mut Machine, answers: &str) -> String {
    answers
        .chars()
        .map(|answer| {
            machine.observe(answer == '+');
            if machine.is_up() { 'U' } else { 'D' }
        })
        .collect()
}

#[test]
fn follows_haproxy_with_rise_2_and_fall_3() {
    for (answers, states) in [
        ("-", "D"),
        ("+---", "UUUD"),
        ("+--+---", "UUUUUUD"),
        ("-+", "DD"),
        ("-++", "DDU"),
        ("-++--+---", "DDUUUUUUD"),
        ("-+-++", "DDDDU"),
        ("--+-+-++", "DDDDDDDU"),
    ] {
        assert_eq!(play(&mut Machine::new(RULES), answers), states, "{answers}");
    }
    let quick = Rules { rise: 1, fall: 1 };
    assert_eq!(play(&mut Machine::new(quick), "-+-+"), "DUDU");
}

#[test]
fn the_pace_follows_what_is_sure() {
    let mut machine = Machine::new(RULES);
    assert_eq!(machine.pace(), Pace::Fast, "nothing is known yet");
    for (answer, pace) in [
        ('+', Pace::Normal),
        ('-', Pace::Fast),
        ('-', Pace::Fast),
        ('-', Pace::Down),
        ('+', Pace::Fast),
        ('-', Pace::Down),
        ('+', Pace::Fast),
        ('+', Pace::Normal),
    ] {
        machine.observe(answer == '+');
        assert_eq!(machine.pace(), pace);
    }
    assert_eq!(Machine::new(Rules { rise: 1, fall: 1 }).pace(), Pace::Normal);
}

#[test]
fn answers_are_tallied_in_words_people_read() {
    let mut machine = Machine::new(RULES);
    let mut told = Vec::new();
    for answer in "+---- + - ++ +".chars().filter(|c| *c != ' ') {
        machine.observe(answer == '+');
        told.push(machine.tally().map_or("-".to_owned(), |t| format!("{} of {}", t.in_a_row, t.of)));
    }
    let expected = ["-", "1 of 3", "2 of 3", "3 of 3", "3 of 3", "1 of 2", "3 of 3", "1 of 2", "2 of 2", "-"];
    assert_eq!(told, expected);
    let mut fresh = Machine::new(RULES);
    fresh.observe(false);
    fresh.observe(false);
    assert_eq!(fresh.tally(), Some(Tally { in_a_row: 1, of: 1 }), "the first answer decided");
}

fn rules() -> impl Strategy<Value = Rules> {
    (1u8..=10, 1u8..=10).prop_map(|(rise, fall)| Rules { rise, fall })
}

/// The same told the plain way: rows of equal answers.
struct Rows {
    up: bool,
    bad: u8,
    good: u8,
}

proptest! {
    #[test]
    fn is_rows_of_equal_answers(rules in rules(), answers in prop::collection::vec(any::<bool>(), 0..60)) {
        let mut machine = Machine::new(rules);
        let mut rows = Rows { up: true, bad: rules.fall - 1, good: 0 };
        for passed in answers {
            let was_up = rows.up;
            if passed {
                rows.bad = 0;
                rows.good = rows.good.saturating_add(1);
                rows.up |= rows.good >= rules.rise;
            } else {
                rows.good = 0;
                rows.bad = rows.bad.saturating_add(1);
                rows.up &= rows.bad < rules.fall;
            }
            let change = match (was_up, rows.up) {
                (true, false) => Some(Change::WentDown),
                (false, true) => Some(Change::CameUp),
                _ => None,
            };
            prop_assert_eq!(machine.observe(passed), change);
            prop_assert_eq!(machine.is_up(), rows.up);
        }
    }

    #[test]
    fn a_reload_never_flaps(
        before in rules(),
        after in rules(),
        answers in prop::collection::vec(any::<bool>(), 0..30),
    ) {
        let mut machine = Machine::new(before);
        for passed in answers {
            machine.observe(passed);
        }
        let reloaded = machine.with_rules(after);
        prop_assert_eq!(reloaded.is_up(), machine.is_up());
        prop_assert_eq!(reloaded.standing() == Standing::Unasked, machine.standing() == Standing::Unasked);
        prop_assert_eq!(machine.with_rules(before), machine, "nothing changed");
        // A member that was sure stays sure; one that was not needs at least one more answer.
        let sure = |pace| pace != Pace::Fast;
        if machine.standing() != Standing::Unasked && sure(machine.pace()) {
            prop_assert_eq!(reloaded.pace(), machine.pace());
        }
    }
}
