//! The first floor as a whole: a text in, a configuration or located mistakes out.

use super::*;

#[test]
fn the_example_is_read() {
    let config = read("example.yaml", example()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(config.listeners.len(), 1);
}
