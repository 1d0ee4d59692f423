//! Promise: what two readers could take for different messages goes no further, whoever sends it and however it is cut.
//!
//! One table for each row of the threats in `SECURITY.md`, down to the byte, against a real data plane before a member
//! that forgives nothing ([`weir_tests::strict_member`]). Each case is played twice, in one piece and a byte at a time.

mod answers;
mod bodies;
mod chunks;
mod conformance;
mod corpus;
mod court;
mod frames;
mod framing;
mod hops;
mod lines;
mod listed;
mod peers;
mod sizes;
mod slow;
mod targets;
