//! Live traffic as a witness: failures in a row, counted over all workers.

use std::sync::atomic::{AtomicU32, Ordering};

/// Failures of one member in a row. Written by every worker, and while all is well only read. A lost race
/// counts one failure more or less, never two suspicions for one row.
#[derive(Debug, Default)]
pub struct Witness {
    bad_in_a_row: AtomicU32,
}

impl Witness {
    /// The member did what it was asked.
    pub fn good(&self) {
        if self.bad_in_a_row.load(Ordering::Relaxed) != 0 {
            self.bad_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// It did not. True for the one failure that makes it suspect: `failures` in a row; then the row begins anew.
    pub fn bad(&self, failures: u32) -> bool {
        let failures = failures.max(1);
        let row = self.bad_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        row >= failures && self.bad_in_a_row.swap(0, Ordering::Relaxed) >= failures
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn failures_in_a_row_make_suspect_and_a_success_clears() {
        let witness = Witness::default();
        let play = |outcomes: &str| -> String {
            let step = |c| match c {
                '+' => {
                    witness.good();
                    '.'
                }
                _ if witness.bad(3) => '!',
                _ => '.',
            };
            outcomes.chars().map(step).collect()
        };
        assert_eq!(play("--+--+---"), "........!");
        assert_eq!(play("-----"), "..!..");
        assert_eq!(play("-"), "!");
        assert!(witness.bad(1), "each one");
        for _ in 0..6 {
            assert!(!witness.bad(1000));
        }
        assert!(witness.bad(3), "a document that asks for fewer");
    }

    #[test]
    fn workers_count_together() {
        let witness = Witness::default();
        let suspicions = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        if witness.bad(10) {
                            suspicions.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        // Races may drop a few failures, and never make more of them.
        let suspicions = suspicions.into_inner();
        assert!((200..=400).contains(&suspicions), "{suspicions}");
    }
}
