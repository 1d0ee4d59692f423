//! The forwarding engine: moves bytes between clients and members, one process for each VIP.
//!
//! The walk of a byte: [`listener`] accepts and admits → [`http`] reads a head, or [`tcp`] takes the stream →
//! [`dispatch`] asks the balancer, waits for a member with room ([`waiting`]) and reaches it through [`upstream`] →
//! bytes are relayed → [`observe`] counts and writes one line. [`worker`] is one data thread, [`instance`] the life of the process around them.

pub mod buffer;
pub mod clock;
pub mod control;
pub mod dispatch;
pub mod draw;
pub mod explain;
pub mod flow;
pub mod health;
pub mod http;
pub mod http2;
pub mod instance;
pub mod lingering;
pub mod listener;
pub mod memory;
pub mod names;
pub mod observe;
pub mod pace;
pub mod persistence;
pub mod privilege;
pub mod process;
pub mod retry;
pub mod room;
pub mod shed;
pub mod shortage;
pub mod sys;
pub mod tcp;
pub mod timer;
pub mod tls;
pub mod upstream;
pub mod view;
pub mod waiting;
pub mod wire;
pub mod worker;
