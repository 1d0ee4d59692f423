//! The forwarding engine.
fn main() {}
