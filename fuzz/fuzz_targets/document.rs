//! Any text is either a document or refused with places; what is a document is written back as the same one.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match lb_core::spec::read("fuzz", text) {
        Ok(config) => {
            let written = lb_core::spec::write(&config).to_string();
            assert_eq!(lb_core::spec::read("written", &written).as_ref(), Ok(&config));
        }
        Err(mistakes) => assert!(mistakes.mistakes.iter().all(|m| m.line >= 1 && m.column >= 1)),
    }
});
