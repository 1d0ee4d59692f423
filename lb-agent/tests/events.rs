//! What the agent tells of what happened: from a data plane that is no `lb-proxy`, over a real socket, through ends of
//! either.
//!
//! Each test has a machine of its own, as in `node.rs`. They need root, and say so when they are skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

#[path = "node/sandbox.rs"]
mod sandbox;

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use lb_agent::api::Guard;
use lb_agent::node::Node;
use lb_control::client::Client;
use lb_control::events::{Event, EventKind, Events};
use lb_control::lines::Lines;
use lb_control::node::{NodeClient, NodeError, NodeEvent};
use lb_core::health::OperatingStatus;
use rustix::process::{Pid, Signal, kill_process};
use sandbox::{Sandbox, document, in_sandbox};

const BY: &str = "the operator (uid 7)";

fn serve(sandbox: &Sandbox, node: &Arc<Node>) -> NodeClient {
    let listener = lb_control::server::bind_socket(sandbox.socket(), 0o600, None).unwrap();
    let (guard, node) = (Guard::new(None), node.clone());
    let answer = move |request| lb_agent::api::answer(node.clone(), request);
    tokio::spawn(lb_control::server::serve_guarded(listener, move |peer| guard.admits(peer), answer));
    NodeClient::new(sandbox.socket())
}

async fn all(node: &Arc<Node>, name: &str) -> Events {
    node.timeline(name).unwrap().after(0, 0).await
}

fn kinds(events: &Events) -> Vec<EventKind> {
    events.events.iter().map(|event| event.kind).collect()
}

async fn until_down(sandbox: &Sandbox, node: &Arc<Node>, times: usize) {
    let count = async || kinds(&all(node, "web").await).iter().filter(|kind| **kind == EventKind::MemberDown).count();
    sandbox.until(async || count().await >= times).await;
    assert_eq!(count().await, times, "told more than once");
}

async fn next<T: serde::de::DeserializeOwned>(lines: &mut Lines) -> Option<T> {
    let line = tokio::time::timeout(Duration::from_secs(5), lines.next()).await.expect("in time").unwrap()?;
    Some(serde_json::from_slice(&line).unwrap())
}

#[test]
fn changes_ends_and_turns_are_told_in_one_row() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        node.apply(document("web", 6, &[80, 81], ""), BY).await.unwrap();
        sandbox.happens("web", EventKind::MemberDown, "DOWN").await;
        until_down(&sandbox, &node, 1).await;
        let pid = node.list()[0].pid.unwrap();
        kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
        sandbox.until(async || node.list()[0].pid.is_some_and(|next| next != pid)).await;
        sandbox.until(async || all(&node, "web").await.events.len() >= 7).await;
        // The next data plane counts from one again.
        sandbox.happens("web", EventKind::MemberUp, "UP").await;
        sandbox.until(async || all(&node, "web").await.events.len() >= 8).await;

        let told = all(&node, "web").await;
        use EventKind::{DataPlaneEnded, DataPlaneStarted, Document, LoadBalancer, MemberDown, MemberUp};
        let expected = [
            LoadBalancer,
            DataPlaneStarted,
            Document,
            Document,
            MemberDown,
            DataPlaneEnded,
            DataPlaneStarted,
            MemberUp,
        ];
        assert_eq!(kinds(&told), expected);
        assert!(told.events.iter().map(|event| event.seq).eq(1..=8));
        let [made, started, created, replaced, down, ended, again, _] = told.events.try_into().unwrap();
        assert_eq!((made.new.as_str(), made.by.as_str(), made.subject.name.as_str()), ("made", BY, "web"));
        assert_eq!((started.new.clone(), started.by.as_str()), (format!("started, pid {pid}"), "the agent"));
        assert_eq!(
            (created.change().as_str(), created.reason.as_str()),
            ("generation 1", "1 listener, 0 pools, 0 members")
        );
        assert_eq!(replaced.change(), "generation 1 → generation 2");
        assert_eq!((replaced.reason.as_str(), replaced.by.as_str()), ("listener l81 added", BY));
        assert_eq!((down.reason.as_str(), down.by.as_str(), down.at_ms), ("HTTP 500", "monitor m", 1));
        assert!(ended.old == format!("pid {pid}") && ended.new.starts_with("killed by signal 9"), "{ended}");
        assert!(ended.by == "a signal" && ended.effect.contains("sessions are cut"), "{ended}");
        assert!(again.reason.contains("killed by signal 9"), "{again}");

        node.delete("web", BY).await.unwrap();
        sandbox.assert_clean();
    });
}

#[test]
fn another_agent_goes_on_and_tells_nothing_twice() {
    in_sandbox(async |sandbox| {
        sandbox.agent_that_crashes(async |node| {
            node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
            sandbox.happens("web", EventKind::MemberDown, "DOWN").await;
            until_down(&sandbox, &node, 1).await;
            node.timelines().flush().await;
        });
        // Nobody listens just now.
        sandbox.happens("web", EventKind::MemberDown, "DOWN").await;
        let node = sandbox.node().await;
        until_down(&sandbox, &node, 2).await;
        let told = all(&node, "web").await;
        assert!(told.events.iter().map(|event| event.seq).eq(1..=told.last), "{told:?}");
        let adopted = told.events.iter().find(|event| event.new == "adopted").unwrap();
        assert!(adopted.seq > 4, "{adopted}");
        node.delete("web", BY).await.unwrap();
    });
}

#[test]
fn a_full_disk_is_told_once_and_hinders_nobody() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        node.timelines().flush().await;
        sandbox.fill_documents();
        let before = std::fs::read(sandbox.events_of("web")).unwrap();
        for n in 0..40 {
            sandbox.happens("web", EventKind::MemberDown, &format!("DOWN {n} {}", "x".repeat(500))).await;
        }
        until_down(&sandbox, &node, 40).await;
        node.timelines().flush().await;
        let events = all(&node, "web").await;
        assert_eq!(events.events.len(), 43, "kept in memory");
        assert!(std::fs::metadata(sandbox.events_of("web")).unwrap().len() < before.len() as u64 + 10_000);
        assert_eq!(node.list().len(), 1);

        sandbox.make_room();
        // Nothing is lost once there is room, and the half written line is not in the way.
        sandbox
            .until(async || {
                node.timelines().flush().await;
                std::fs::read_to_string(sandbox.events_of("web")).unwrap().contains("DOWN 39")
            })
            .await;
        let text = std::fs::read_to_string(sandbox.events_of("web")).unwrap();
        assert_eq!(text.lines().count(), 44);
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
        node.delete("web", BY).await.unwrap();
    });
}

#[test]
fn events_are_asked_for_and_waited_for() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        let client = serve(&sandbox, &node);
        client.apply(document("web", 6, &[80], "")).await.unwrap();
        let told = client.events("web", 0, 0).await.unwrap();
        assert_eq!((told.events.len(), told.last), (3, 3));
        assert!(told.events[2].by.starts_with("the operator (uid "), "{}", told.events[2]);
        assert_eq!(client.events("web", told.row, 2).await.unwrap().events.len(), 1);
        assert_eq!(client.events("web", told.row + 1, 2).await.unwrap().events.len(), 3);

        let asked = Client::new(sandbox.socket());
        let waiting = tokio::spawn(async move {
            asked.get::<Events>("/v1/loadbalancers/web/events?after=3&wait_ms=20000").await.unwrap()
        });
        sandbox.happens("web", EventKind::MemberDown, "DOWN").await;
        let news = tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("woken").unwrap();
        assert_eq!(kinds(&news), [EventKind::MemberDown]);

        let client = Client::new(sandbox.socket());
        for (method, uri, expected) in [
            (Method::GET, "/v1/loadbalancers/web/events?after=x", 400),
            (Method::GET, "/v1/loadbalancers/nobody/events", 404),
            (Method::GET, "/v1/loadbalancers/nobody/events?follow=true", 404),
            (Method::POST, "/v1/loadbalancers/web/events", 405),
            (Method::GET, "/v1/events", 400),
            (Method::POST, "/v1/events", 405),
        ] {
            let (status, body) = client.send(method, uri, Default::default()).await.unwrap();
            assert_eq!(status.as_u16(), expected, "{uri}: {body:?}");
        }
        node.delete("web", BY).await.unwrap();
    });
}

#[test]
fn events_are_streamed_until_the_load_balancer_is_gone() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        let client = serve(&sandbox, &node);
        let mut of_all = client.follow_all().await.unwrap();
        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        let mut lines = client.follow("web", 1).await.unwrap();
        for expected in [2, 3] {
            assert_eq!(next::<Event>(&mut lines).await.unwrap().seq, expected);
        }
        sandbox.happens("web", EventKind::MemberDown, "DOWN").await;
        assert_eq!(next::<Event>(&mut lines).await.unwrap().kind, EventKind::MemberDown);
        for seq in 1..=4 {
            let told = next::<NodeEvent>(&mut of_all).await.unwrap();
            assert_eq!((told.loadbalancer.name.as_str(), told.event.seq), ("web", seq));
        }
        node.delete("web", BY).await.unwrap();
        let last = next::<Event>(&mut lines).await.unwrap();
        assert_eq!((last.new.as_str(), last.by.as_str()), ("removed", BY));
        assert!(next::<Event>(&mut lines).await.is_none());

        // Places are given back by those who leave.
        let mut crowd = Vec::new();
        while let Ok(lines) = client.follow_all().await {
            crowd.push(lines);
        }
        assert_eq!(crowd.len() + 1, lb_agent::timeline::FOLLOWERS_MAX);
        assert!(matches!(client.follow_all().await, Err(NodeError::Failed(_))));
        client.health().await.unwrap();
        drop(crowd);
        sandbox.until(async || client.follow_all().await.is_ok()).await;
    });
}

#[test]
fn a_list_knows_who_is_not_well() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        let is = async |status: OperatingStatus| node.list()[0].operating_status == status;
        sandbox.until(async || is(OperatingStatus::Online).await).await;
        sandbox.happens("web", EventKind::MemberDown, "DOWN").await;
        sandbox.until(async || is(OperatingStatus::Degraded).await).await;
        assert_eq!(node.status("web").await.unwrap().loadbalancer.operating_status, OperatingStatus::Degraded);
        sandbox.happens("web", EventKind::MemberUp, "UP").await;
        sandbox.until(async || is(OperatingStatus::Online).await).await;
        node.delete("web", BY).await.unwrap();
    });
}

/// One that stops answering is asked ever less often, not in a circle.
#[test]
fn a_data_plane_without_events_is_left_in_peace() {
    in_sandbox(async |sandbox| {
        let (asked, answers) = (Arc::new(std::sync::atomic::AtomicUsize::new(0)), sandbox.socket());
        std::fs::create_dir_all(answers.parent().unwrap()).unwrap();
        let listener = lb_control::server::bind_socket(&answers, 0o600, None).unwrap();
        let count = asked.clone();
        tokio::spawn(lb_control::server::serve(listener, move |_| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async { lb_control::server::Response::json(hyper::StatusCode::OK, &Events::default()) }
        }));
        let timelines = lb_agent::timeline::Timelines::start(answers.parent().unwrap());
        let timeline = timelines.open(lb_core::id::LoadBalancerId::for_name("web"));
        let control = lb_control::instance::InstanceClient::new(&answers);
        let watching = lb_agent::timeline::watch::Watching::start(1, control, timeline);
        let began = std::time::Instant::now();
        sandbox.until(async || asked.load(std::sync::atomic::Ordering::Relaxed) >= 3).await;
        assert!(began.elapsed() > Duration::from_millis(1500), "{:?}", began.elapsed());
        drop(watching);
    });
}
