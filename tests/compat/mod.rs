//! The same page of conversation through HAProxy and through Weir: what the client saw, what the member saw, how
//! the connection ended and what was logged must be the same, or the page says why not.

mod balance;
mod bodies;
mod connections;
mod failures;
mod headers;
mod interim;
mod persistence;
mod queues;
mod requests;
mod scenario;
mod strict;
mod tcp;
mod upgrade;
