//! Whatever comes as an answer of a DNS server, it is not ours, cut, or an answer within its bounds; and one with another id, or to
//! another question, is never believed.

use lb_proxy::names::message::{Answer, Family, Question, Reading};

/// The id every input is asked under: two bytes that stand at the front of an answer.
const ID: u16 = 0x1234;

pub(super) fn run(said: &[u8]) {
    for family in [Family::V4, Family::V6] {
        let ask = |id, name| Question::new(id, name, family).expect("a name").read(said);
        let read = ask(ID, "a.example.");
        assert_eq!(read, ask(ID, "A.Example."), "names are the same in any case");
        if let Reading::Answer(answer) = &read {
            assert_eq!(ask(ID ^ 1, "a.example."), Reading::NotOurs);
            assert_eq!(ask(ID, "b.example."), Reading::NotOurs);
            within_bounds(answer, family, said.len());
        }
    }
}

fn within_bounds(answer: &Answer, family: Family, len: usize) {
    match answer {
        Answer::Found(found) => {
            assert!(!found.addresses.is_empty() && found.addresses.len() <= len / 12);
            assert!(found.addresses.iter().all(|ip| ip.is_ipv4() == (family == Family::V4)));
        }
        Answer::Alias { to, .. } => assert!(!to.is_empty() && to.len() <= 4 * 255, "escaped, each byte takes four"),
        Answer::Refusal(word) => assert!(!word.is_empty() && word.len() < 64),
        Answer::NoSuchName { .. } | Answer::NoAddress { .. } => {}
    }
}
