//! Promise: members are asked, judged and told of as the document says, and traffic follows the verdict.
//!
//! | file | what it proves |
//! |---|---|
//! | [`detect`] | each way to fail is found out in time, and told with its reason |
//! | [`differential`] | the same verdicts as HAProxy's, as soon |
//! | [`traffic`] | who gets work when members are down |
//! | [`marked_down`] | what becomes of work under way |
//! | [`kinds`] | each kind of monitor, as seen on the wire |
//! | [`witness`] | live traffic as a witness |
//! | [`slow`] | slow start |
//! | [`agents`] | a member's own agent, in HAProxy's words |
//! | [`reload`] | documents and pauses that change nothing |
//! | [`frozen`] | a process that did not run for a while |
//! | [`network`] | a node that lost its network |
//! | [`flaps`] | thousands of turns leave nothing behind |

mod agents;
mod detect;
mod differential;
mod flaps;
mod frozen;
mod kinds;
mod marked_down;
mod network;
mod reload;
mod slow;
mod traffic;
mod witness;
