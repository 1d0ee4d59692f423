//! A node with a data plane that is no `lb-proxy`: what the agent promises about documents, sockets and processes.
//!
//! Each test has a network and a `/run` of its own, so nothing of the machine is touched. They need root, and say
//! so when they are skipped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

#[path = "node/sandbox.rs"]
mod sandbox;

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hyper::Method;
use lb_agent::api::Guard;
use lb_agent::netns;
use lb_agent::node::NodeFault;
use lb_control::client::Client;
use lb_control::node::{NodeClient, ProvisioningStatus};
use lb_core::health::OperatingStatus;
use rustix::process::{Pid, Signal, kill_process};
use sandbox::{Sandbox, document, in_sandbox};

/// Who asks for everything here.
const BY: &str = "the operator (uid 0)";

/// The pid a data plane answers a client with.
fn ask(sandbox: &Sandbox, port: u16) -> Result<u32, std::io::Error> {
    let to = ("20.20.20.6".parse::<std::net::IpAddr>().unwrap(), port).into();
    netns::inside(&sandbox.namespace("web"), || {
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        answer.trim().parse().map_err(std::io::Error::other)
    })
    .unwrap()
}

/// Off the runtime's thread, which the agent under test lives on.
async fn ask_async(sandbox: &Sandbox, port: u16) -> Result<u32, std::io::Error> {
    let sandbox = sandbox.clone();
    tokio::task::spawn_blocking(move || ask(&sandbox, port)).await.unwrap()
}

#[test]
fn applied_replaced_and_removed_without_remains() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        let first = node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        assert!(first.created && first.generation == 1);
        let pid = ask_async(&sandbox, 80).await.unwrap();
        let second = node.apply(document("web", 6, &[80, 81], ""), BY).await.unwrap();
        assert!(!second.created && second.generation == 2);
        assert_eq!(ask_async(&sandbox, 80).await.unwrap(), pid);
        assert_eq!(ask_async(&sandbox, 81).await.unwrap(), pid);
        // The same once more changes nothing.
        assert_eq!(node.apply(document("web", 6, &[80, 81], ""), BY).await.unwrap().generation, 2);
        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        assert!(ask_async(&sandbox, 81).await.is_err());

        let status = node.status("web").await.unwrap();
        assert_eq!(status.loadbalancer.operating_status, OperatingStatus::Online);
        assert_eq!(status.loadbalancer.provisioning_status, ProvisioningStatus::Active);
        assert_eq!((status.instance.pid, status.instance.restarts), (Some(pid), 0));

        node.delete("web", BY).await.unwrap();
        assert!(matches!(node.delete("web", BY).await, Err(NodeFault::NotFound(_))));
        sandbox.assert_clean();
        assert!(!sandbox.runs(pid));
    });
}

#[test]
fn what_cannot_be_served_changes_nothing() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        // Never served: nothing of it may be left.
        assert!(matches!(node.apply(document("web", 6, &[80], "unservable"), BY).await, Err(NodeFault::Conflict(_))));
        sandbox.assert_clean();
        assert!(node.list().is_empty());

        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        let pid = ask_async(&sandbox, 80).await.unwrap();
        let stored = sandbox.stored();
        let Err(NodeFault::Conflict(why)) = node.apply(document("web", 6, &[80, 81], "unservable"), BY).await else {
            panic!("applied")
        };
        assert_eq!(why, "cannot serve this");
        let Err(NodeFault::Refused(refused)) = node.apply("loadbalancer: {vip_adress: x}".into(), BY).await else {
            panic!("applied")
        };
        assert!(!refused.mistakes.is_empty());
        assert_eq!(sandbox.stored(), stored);
        assert_eq!(ask_async(&sandbox, 80).await.unwrap(), pid);
        assert!(ask_async(&sandbox, 81).await.is_err(), "a port of a refused document is open");
        assert_eq!(node.list()[0].provisioning_status, ProvisioningStatus::Active);
    });
}

#[test]
fn more_workers_get_more_sockets() {
    in_sandbox(async |sandbox| {
        let with = |workers: u16, text: &str| text.replace("\"workers\":2", &format!("\"workers\":{workers}"));
        let node = sandbox.node().await;
        let sockets = async || lb_control::handoff::collect(sandbox.handoff("web")).await.unwrap()[0].1.len();
        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        assert_eq!(sockets().await, 2);
        node.apply(with(4, &document("web", 6, &[80], "")), BY).await.unwrap();
        assert_eq!(sockets().await, 4);
        // Refused with more workers still: sockets nobody accepts on would swallow connections.
        assert!(node.apply(with(7, &document("web", 6, &[80], "unservable")), BY).await.is_err());
        for _ in 0..40 {
            ask_async(&sandbox, 80).await.unwrap();
        }
        // What is open stays with fewer.
        node.apply(with(1, &document("web", 6, &[80], "")), BY).await.unwrap();
        assert_eq!(sockets().await, 4);
        node.delete("web", BY).await.unwrap();
        sandbox.assert_clean();
    });
}

/// As an agent leaves them that ends between offering and configuring.
#[test]
fn sockets_offered_in_vain_are_not_in_the_way() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        let addr = "20.20.20.6:81".parse().unwrap();
        let stray = netns::inside(&sandbox.namespace("web"), || lb_control::listen::listen(addr, 2)).unwrap().unwrap();
        let lent = [(addr, stray.iter().map(std::os::fd::AsFd::as_fd).collect())];
        lb_control::handoff::offer(sandbox.handoff("web"), &lent).await.unwrap();
        drop(stray);
        node.apply(document("web", 6, &[80, 81], ""), BY).await.unwrap();
        ask_async(&sandbox, 81).await.unwrap();
        node.delete("web", BY).await.unwrap();
        sandbox.assert_clean();
    });
}

#[test]
fn a_vip_is_had_once_on_its_network() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        let Err(NodeFault::Conflict(why)) = node.apply(document("other", 6, &[80], ""), BY).await else {
            panic!("applied")
        };
        assert!(why.contains("20.20.20.6 on network n belongs to"), "{why}");
        // Given up, it is free; a failed attempt holds nothing.
        node.apply(document("web", 7, &[80], ""), BY).await.unwrap();
        node.apply(document("other", 6, &[80], ""), BY).await.unwrap();
        let (one, two) = tokio::join!(node.delete("web", BY), node.delete("other", BY));
        one.unwrap();
        two.unwrap();
        sandbox.assert_clean();
    });
}

#[test]
fn a_killed_data_plane_is_replaced_and_nobody_is_refused() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        let pid = ask_async(&sandbox, 80).await.unwrap();
        let began = Instant::now();
        kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
        let next = loop {
            match ask_async(&sandbox, 80).await {
                Ok(next) if next != pid => break next,
                Ok(_) => {}
                Err(error) => {
                    assert_ne!(error.kind(), std::io::ErrorKind::ConnectionRefused, "refused");
                }
            }
        };
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let status = node.status("web").await.unwrap().instance;
        assert_eq!((status.pid, status.restarts), (Some(next), 1));
        assert!(status.last_exit.unwrap().starts_with("killed by signal 9"));
        node.delete("web", BY).await.unwrap();
        sandbox.assert_clean();
    });
}

#[test]
fn a_document_that_kills_is_taken_back() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        let text = document("deadly", 6, &[80], "");
        let Err(NodeFault::Trouble(why)) = node.apply(text, BY).await else { panic!("applied") };
        assert!(why.contains("exited with status 3"), "{why}");
        sandbox.assert_clean();
        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        node.delete("web", BY).await.unwrap();
        sandbox.assert_clean();
    });
}

#[test]
fn a_new_agent_takes_over_without_touching_traffic() {
    in_sandbox(async |sandbox| {
        let crashed = sandbox.agent_that_crashes(async |node| {
            node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
            node.apply(document("gone", 7, &[80], ""), BY).await.unwrap();
        });
        let pid = crashed.pids["web"];
        // Damaged by the same accident, the one; its deletion was acknowledged just before, the other.
        sandbox.damage("web");
        sandbox.forget("gone");

        let node = sandbox.node().await;
        sandbox
            .until(async || node.list().len() == 1 && node.list()[0].provisioning_status == ProvisioningStatus::Active)
            .await;
        assert_eq!(ask_async(&sandbox, 80).await.unwrap(), pid);
        sandbox.until(async || !sandbox.runs(crashed.pids["gone"])).await;
        // Its sockets were collected: they outlive this data plane, too.
        kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
        sandbox.until(async || ask_async(&sandbox, 80).await.is_ok_and(|next| next != pid)).await;
        let status = node.status("web").await.unwrap().instance;
        assert!(status.last_exit.unwrap().contains("an earlier agent had started it"));
        node.delete("web", BY).await.unwrap();
        sandbox.until(async || sandbox.is_clean()).await;
    });
}

/// Nothing may be removed that a document once stood for, until it is known what the document is.
#[test]
fn a_data_plane_whose_document_is_lost_waits_for_the_next() {
    in_sandbox(async |sandbox| {
        let crashed = sandbox.agent_that_crashes(async |node| {
            node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        });
        let pid = crashed.pids["web"];
        sandbox.damage("web");
        // It cannot tell, for now.
        let control = sandbox.control("web");
        std::fs::rename(&control, control.with_extension("hidden")).unwrap();
        let node = sandbox.node().await;
        assert!(node.list().is_empty());
        std::fs::rename(control.with_extension("hidden"), &control).unwrap();
        assert_eq!(ask_async(&sandbox, 80).await.unwrap(), pid);
        node.apply(document("web", 6, &[80, 81], ""), BY).await.unwrap();
        assert_eq!(ask_async(&sandbox, 81).await.unwrap(), pid);
        node.delete("web", BY).await.unwrap();
        assert!(!sandbox.runs(pid));
    });
}

#[test]
fn the_socket_speaks_http() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        let listener = lb_control::server::bind_socket(sandbox.socket(), 0o600, None).unwrap();
        let guard = Guard::new(None);
        let answer = move |request| lb_agent::api::answer(node.clone(), request);
        tokio::spawn(lb_control::server::serve_guarded(listener, move |peer| guard.admits(peer), answer));
        let client = Client::new(sandbox.socket());
        let status = async |method: Method, uri: &str, body: String| {
            let (status, body) = client.send(method, uri, body.into()).await.unwrap();
            (status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
        };
        let all = "/v1/loadbalancers";
        assert_eq!(status(Method::PUT, all, document("web", 6, &[80], "")).await.0, 201);
        assert_eq!(status(Method::PUT, all, document("web", 6, &[81], "")).await.0, 200);
        assert_eq!(status(Method::PUT, all, document("b", 6, &[81], "")).await.0, 409);
        assert_eq!(status(Method::PUT, all, document("b", 7, &[81], "unservable")).await.0, 409);
        let (code, body) = status(Method::PUT, all, "loadbalancer: {}".into()).await;
        assert!(code == 422 && body.contains("vip_address"), "{code} {body}");
        let (code, body) = status(Method::GET, "/v1/loadbalancers/no%20body", String::new()).await;
        assert!(code == 404 && body.contains("no load balancer called no body; there are: web"), "{code} {body}");
        assert_eq!(status(Method::POST, all, String::new()).await.0, 405);
        assert_eq!(status(Method::GET, "/v2", String::new()).await.0, 404);

        let node = NodeClient::new(sandbox.socket());
        assert_eq!(node.list().await.unwrap().len(), 1);
        assert_eq!(node.health().await.unwrap().loadbalancers, 1);
        assert_eq!(node.stats("web").await.unwrap().generation, 2);
        // What is shown may be applied again, and is the same.
        let shown = node.document("web").await.unwrap();
        assert_eq!(node.apply(shown.to_string()).await.unwrap().generation, 2);
        node.delete("web").await.unwrap();
        std::fs::remove_file(sandbox.socket()).unwrap();
        sandbox.assert_clean();
    });
}

#[test]
fn somebody_elses_namespace_is_left_alone() {
    in_sandbox(async |sandbox| {
        netns::create(&sandbox.namespace("web"), None).unwrap();
        let node = sandbox.node().await;
        let Err(NodeFault::Conflict(why)) = node.apply(document("web", 6, &[80], ""), BY).await else {
            panic!("applied")
        };
        assert!(why.contains("is not ours"), "{why}");
        assert!(netns::exists(&sandbox.namespace("web")));
        assert!(sandbox.stored().is_empty());
    });
}

#[test]
fn a_link_that_is_lost_comes_back() {
    in_sandbox(async |sandbox| {
        let node = sandbox.node().await;
        node.apply(document("web", 6, &[80], ""), BY).await.unwrap();
        let pid = ask_async(&sandbox, 80).await.unwrap();
        netns::delete(&sandbox.namespace("web")).unwrap();
        // The next change finds it gone.
        node.apply(document("web", 6, &[80, 81], ""), BY).await.unwrap();
        assert_eq!(ask_async(&sandbox, 80).await.unwrap(), pid);
        assert_eq!(ask_async(&sandbox, 81).await.unwrap(), pid);
        node.delete("web", BY).await.unwrap();
        sandbox.assert_clean();
    });
}
