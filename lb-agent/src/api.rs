//! How people and tools talk to the agent: see [`lb_control::node`] for the words.

use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use lb_control::instance::{EVENTS_WAIT_MAX, Failed};
use lb_control::node::percent_decode;
use lb_control::server::{Peer, Request, Response};
use lb_core::spec;
use nix::unistd::{Gid, Group, Uid, User};

use crate::log;
use crate::node::{Node, NodeFault};
use crate::timeline::follow::{Pieces, TooMany};
use crate::timeline::{FOLLOWERS_MAX, Timeline};

const NDJSON: &str = "application/x-ndjson";

/// Answers one request.
pub async fn answer(node: Arc<Node>, request: Request) -> Response {
    let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    match (&request.method, parts.as_slice()) {
        (&Method::GET, ["v1", "health"]) => Response::json(StatusCode::OK, &node.health()),
        (&Method::GET, ["v1", "loadbalancers"]) => Response::json(StatusCode::OK, &node.list()),
        (&Method::PUT, ["v1", "loadbalancers"]) => apply(node, &request).await,
        (&Method::POST, ["v1", "explain"]) => match serde_json::from_slice(&request.body) {
            Ok(question) => reply(node.explain(question).await),
            Err(error) => failed(StatusCode::BAD_REQUEST, &format!("this is no question: {error}")),
        },
        (&Method::GET, ["v1", "events"]) => all_events(&node, &request),
        (_, ["v1", "loadbalancers", encoded, rest @ ..]) => match percent_decode(encoded) {
            Some(name) => one(node, &request, &name, rest).await,
            None => failed(StatusCode::BAD_REQUEST, "the name in the path is not percent-encoded UTF-8"),
        },
        (_, ["v1", "health" | "loadbalancers" | "events" | "explain"]) => not_allowed(&request.method),
        _ => failed(StatusCode::NOT_FOUND, &format!("there is nothing at {}", request.path)),
    }
}

async fn one(node: Arc<Node>, request: &Request, name: &str, rest: &[&str]) -> Response {
    match (&request.method, rest) {
        (&Method::GET, []) => reply(node.document(name).map(|document| spec::write(&document))),
        (&Method::DELETE, []) => {
            let (name, by) = (name.to_owned(), operator(&request.peer));
            // Carried to its end even when whoever asked goes away.
            finished(tokio::spawn(async move { node.delete(&name, &by).await }).await, StatusCode::OK)
        }
        (&Method::GET, ["status"]) => reply(node.status(name).await),
        (&Method::GET, ["stats"]) => reply(node.stats(name).await),
        (&Method::GET, ["persistence"]) => match node.persistence(name).await {
            Ok(pieces) => Response::pieces("application/octet-stream", pieces),
            Err(fault) => fault_response(&fault),
        },
        (&Method::PUT, ["persistence"]) => reply(node.take_up(name, request.body.clone()).await),
        (&Method::GET, ["events"]) => match node.timeline(name) {
            Ok(timeline) => events(&timeline, request).await,
            Err(fault) => fault_response(&fault),
        },
        (method, [] | ["status" | "stats" | "persistence" | "events"]) => not_allowed(method),
        _ => failed(StatusCode::NOT_FOUND, "a load balancer has /status, /stats, /persistence and /events"),
    }
}

async fn events(timeline: &Arc<Timeline>, request: &Request) -> Response {
    let query = match EventsQuery::read(request.query.as_deref().unwrap_or_default()) {
        Ok(query) => query,
        Err(words) => return failed(StatusCode::BAD_REQUEST, &words),
    };
    if query.follow {
        return stream(timeline.follow(query.after));
    }
    match timeline.wait(query.row, query.after, query.wait).await {
        Ok(events) => Response::json(StatusCode::OK, &events),
        Err(TooMany) => too_many(),
    }
}

fn all_events(node: &Node, request: &Request) -> Response {
    match EventsQuery::read(request.query.as_deref().unwrap_or_default()) {
        Ok(query) if query.follow => stream(node.timelines().follow()),
        Ok(_) => failed(StatusCode::BAD_REQUEST, "of all load balancers events can be followed only: ?follow=true"),
        Err(words) => failed(StatusCode::BAD_REQUEST, &words),
    }
}

fn stream(pieces: Result<Pieces, TooMany>) -> Response {
    pieces.map_or_else(|TooMany| too_many(), |pieces| Response::pieces(NDJSON, pieces))
}

fn too_many() -> Response {
    failed(StatusCode::SERVICE_UNAVAILABLE, &format!("{FOLLOWERS_MAX} follow or wait for events already"))
}

/// What is asked of events.
#[derive(Debug, Default, PartialEq, Eq)]
struct EventsQuery {
    row: u64,
    after: u64,
    wait: Duration,
    follow: bool,
}

impl EventsQuery {
    fn read(query: &str) -> Result<Self, String> {
        let mut read = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let number = || value.parse::<u64>().map_err(|_| format!("{key}={value}: not a number"));
            match key {
                "row" => read.row = number()?,
                "after" => read.after = number()?,
                "wait_ms" => read.wait = Duration::from_millis(number()?).min(EVENTS_WAIT_MAX),
                "follow" => {
                    read.follow = value.parse().map_err(|_| format!("follow={value}: neither true nor false"))?;
                }
                _ => return Err(format!("{key}: events know row, after, wait_ms and follow")),
            }
        }
        Ok(read)
    }
}

/// Who asks, for the timeline.
fn operator(peer: &Peer) -> String {
    format!("the operator (uid {})", peer.uid)
}

async fn apply(node: Arc<Node>, request: &Request) -> Response {
    let Ok(text) = String::from_utf8(request.body.to_vec()) else {
        return failed(StatusCode::BAD_REQUEST, "the document is not UTF-8");
    };
    let by = operator(&request.peer);
    let applied = tokio::spawn(async move { node.apply(text, &by).await }).await;
    let created = matches!(&applied, Ok(Ok(reply)) if reply.created);
    finished(applied, if created { StatusCode::CREATED } else { StatusCode::OK })
}

fn finished<T: serde::Serialize>(
    outcome: Result<Result<T, NodeFault>, tokio::task::JoinError>,
    status: StatusCode,
) -> Response {
    match outcome {
        Ok(Ok(value)) => Response::json(status, &value),
        Ok(Err(fault)) => fault_response(&fault),
        Err(error) => failed(StatusCode::INTERNAL_SERVER_ERROR, &format!("the agent failed: {error}")),
    }
}

fn reply<T: serde::Serialize>(result: Result<T, NodeFault>) -> Response {
    result.map_or_else(|fault| fault_response(&fault), |value| Response::json(StatusCode::OK, &value))
}

fn fault_response(fault: &NodeFault) -> Response {
    match fault {
        NodeFault::Refused(refused) => Response::json(StatusCode::UNPROCESSABLE_ENTITY, refused),
        NodeFault::NotFound(not_found) => Response::json(StatusCode::NOT_FOUND, not_found),
        NodeFault::Senseless(words) => failed(StatusCode::BAD_REQUEST, words),
        NodeFault::Conflict(words) => failed(StatusCode::CONFLICT, words),
        NodeFault::Trouble(words) => failed(StatusCode::INTERNAL_SERVER_ERROR, words),
    }
}

fn not_allowed(method: &Method) -> Response {
    failed(StatusCode::METHOD_NOT_ALLOWED, &format!("{method} is not possible here"))
}

fn failed(status: StatusCode, words: &str) -> Response {
    Response::json(status, &Failed { message: words.to_owned() })
}

/// Who may talk to the agent: root, the agent's own user, and members of the group.
///
/// The mode of the socket keeps others out before they are asked; this is the second door. Members are looked up by
/// user, not by the groups of a process, whose number may be another process's by then.
#[derive(Clone, Debug)]
pub struct Guard {
    own_uid: u32,
    group: Option<(Gid, Vec<String>)>,
}

impl Guard {
    /// `group`: as the configuration names it, already looked up.
    pub fn new(group: Option<Group>) -> Self {
        Self { own_uid: Uid::effective().as_raw(), group: group.map(|group| (group.gid, group.mem)) }
    }

    /// May `peer` ask?
    pub fn admits(&self, peer: &Peer) -> bool {
        if peer.uid == 0 || peer.uid == self.own_uid {
            return true;
        }
        let Some((gid, members)) = &self.group else { return refuse(peer) };
        let user = || User::from_uid(Uid::from_raw(peer.uid)).ok().flatten();
        peer.gid == gid.as_raw()
            || user().is_some_and(|user| user.gid == *gid || members.contains(&user.name))
            || refuse(peer)
    }
}

fn refuse(peer: &Peer) -> bool {
    log::warn("agent", format_args!("uid {} gid {} was not let in", peer.uid, peer.gid));
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32) -> Peer {
        Peer { uid, gid, pid: None }
    }

    #[test]
    fn queries_are_read_whole_or_refused() {
        let read = EventsQuery::read;
        assert_eq!(read(""), Ok(EventsQuery::default()));
        let all = EventsQuery { row: 1, after: 2, wait: EVENTS_WAIT_MAX, follow: true };
        assert_eq!(read("row=1&after=2&wait_ms=99999999&follow=true"), Ok(all));
        for wrong in ["after=x", "after=-1", "follow=1", "folow=true", "wait_ms="] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_root_the_owner_and_the_group_get_in() {
        let alone = Guard::new(None);
        assert!(alone.admits(&peer(0, 0)) && alone.admits(&peer(Uid::effective().as_raw(), 1)));
        assert!(!alone.admits(&peer(4_000_000, 0)));
        let group = Group {
            name: "ops".into(),
            passwd: Default::default(),
            gid: Gid::from_raw(777),
            mem: vec!["daemon".into()],
        };
        let open = Guard::new(Some(group));
        assert!(open.admits(&peer(4_000_000, 777)));
        assert!(!open.admits(&peer(4_000_000, 778)));
        if let Ok(Some(daemon)) = User::from_name("daemon") {
            assert!(open.admits(&peer(daemon.uid.as_raw(), daemon.gid.as_raw())), "a supplementary group counts");
        }
    }
}
