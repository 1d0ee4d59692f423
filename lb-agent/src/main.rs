//! Minds a node.
fn main() {}
