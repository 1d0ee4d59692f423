//! HTTP: requests read one by one, each given to a member, each answer passed back.

pub mod answer;
pub mod body;
pub mod certificate_fields;
pub mod date;
pub mod discard;
pub mod exchange;
pub mod h1;
pub mod head;
pub mod mirror;
pub mod parked;
pub mod policy;
pub mod redirect;
pub mod refusal;
mod refusing;
pub mod session;
pub mod tunnel;
