//! Minds the load balancers of a node: keeps their documents, and sees to it that what runs is what they say.
//!
//! [`store`] keeps documents through crashes. For each load balancer a [`keeper`] compares what is [`desired`] with
//! what is [`actual`], lets [`reconcile`] (pure) say what to do, and does it: [`netns`] and [`link`] make its namespace
//! and plug its VIP, [`instance`] runs its data plane. [`api`] is how people and tools talk to the agent.

pub mod config;
pub mod log;
pub mod store;
#[cfg(test)]
mod testing;
