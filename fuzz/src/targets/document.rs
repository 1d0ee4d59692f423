//! Any text is either a document or refused with places; what is a document is written back as the same one, and can be compiled.

use std::sync::Arc;

use lb_core::snapshot::Snapshot;

pub(super) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match lb_core::spec::read("fuzz", text) {
        Ok(config) => {
            let written = lb_core::spec::write(&config).to_string();
            assert_eq!(lb_core::spec::read("written", &written).as_ref(), Ok(&config));
            let config = Arc::new(config);
            let snapshot = Snapshot::build(Arc::clone(&config), &Snapshot::empty(), 1);
            drop(Snapshot::build(config, &snapshot, 2));
        }
        Err(mistakes) => {
            assert!(!mistakes.mistakes.is_empty(), "a refusal says why");
            assert!(mistakes.mistakes.iter().all(|m| m.line >= 1 && m.column >= 1));
        }
    }
}
