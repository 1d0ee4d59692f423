//! libFuzzer around one target, which `WEIR_FUZZ_TARGET` names; without that, a list of all. Started by `fuzz/run`.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use weir_fuzz::{TARGETS, Target, hold};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("WEIR_FUZZ_TARGET").unwrap_or_default();
        match TARGETS.iter().find(|target| target.name == name) {
            Some(target) => drop(TARGET.set(target)),
            None => {
                list();
                std::process::exit(i32::from(!name.is_empty()));
            }
        }
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            hold(target, bytes);
        }
    }
);

#[expect(clippy::print_stdout, reason = "the list is what was asked for")]
fn list() {
    for target in TARGETS {
        let words = if target.words.is_empty() { "-" } else { target.words };
        println!("{} {} {words} {}", target.name, target.len_max, target.also.join(" "));
    }
}
