//! A data plane for tests of the agent: takes sockets and documents as `lb-proxy` does, forwards nothing.
//!
//! It answers every connection with its process id, refuses to serve a document called `unservable`, and dies of
//! one called `deadly`. What is posted to `/v1/events` happened; while the last of it was a member going down, it is
//! DEGRADED.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser;
use hyper::{Method, StatusCode};
use lb_control::events::{Event, EventKind, Ring};
use lb_control::handoff::{self, HandoffStore, Sockets};
use lb_control::instance::{Applied, DocumentReply, Failed, Health, InstanceState};
use lb_control::server::{Request, Response, bind_socket, serve};
use lb_control::stats::Stats;
use lb_core::config::LoadBalancer;
use lb_core::health::OperatingStatus;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

#[derive(Debug, Parser)]
struct Options {
    #[arg(long)]
    control: String,
    #[arg(long)]
    handoff: String,
    #[arg(long)]
    user: String,
    #[arg(long)]
    drain_timeout: u32,
}

struct Plane {
    held: Mutex<Vec<(SocketAddr, Vec<TcpListener>)>>,
    offered: Mutex<Vec<(SocketAddr, Vec<TcpListener>)>>,
    served: Mutex<(u64, Option<LoadBalancer>)>,
    events: Mutex<Ring>,
    news: Notify,
    status: Mutex<OperatingStatus>,
}

impl Plane {
    fn new() -> Self {
        Self {
            held: Mutex::default(),
            offered: Mutex::default(),
            served: Mutex::default(),
            // Another for each process.
            events: Mutex::new(Ring::new(std::process::id().into())),
            news: Notify::new(),
            status: Mutex::new(OperatingStatus::Online),
        }
    }

    fn happened(&self, event: &[u8]) -> Response {
        let Ok(event) = serde_json::from_slice::<Event>(event) else {
            return Response::text(StatusCode::BAD_REQUEST, "no event");
        };
        let is_down = event.kind == EventKind::MemberDown;
        let status = if is_down { OperatingStatus::Degraded } else { OperatingStatus::Online };
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
        let seq = self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.news.notify_waiters();
        Response::json(StatusCode::OK, &seq)
    }

    async fn events(&self, query: &str) -> Response {
        let number = |key: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        let (row, after, wait) = (number("row"), number("after"), Duration::from_millis(number("wait_ms")));
        let look = || self.events.lock().unwrap_or_else(PoisonError::into_inner).after(row, after);
        let mut news = std::pin::pin!(self.news.notified());
        news.as_mut().enable();
        if look().events.is_empty() {
            let _ = tokio::time::timeout(wait, news).await;
        }
        Response::json(StatusCode::OK, &look())
    }

    fn stats(&self) -> Stats {
        let operating_status = Some(*self.status.lock().unwrap_or_else(PoisonError::into_inner));
        Stats { generation: self.served().0, operating_status, ..Stats::default() }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Vec<(SocketAddr, Vec<TcpListener>)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn served(&self) -> std::sync::MutexGuard<'_, (u64, Option<LoadBalancer>)> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sockets of addresses that are not served are closed, also after a document that was not taken.
    fn apply(&self, text: &str) -> Response {
        let Ok(document) = lb_core::spec::read("<request>", text) else {
            return Response::text(StatusCode::INTERNAL_SERVER_ERROR, "the agent let a wrong document through");
        };
        if document.name == "deadly" {
            std::process::exit(3);
        }
        let mut served = self.served();
        let offered: Vec<_> = self.offered.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let known = |addr: &SocketAddr| self.held().iter().chain(&offered).any(|(held, _)| held == addr);
        let missing = document.sockets().find(|addr| !known(addr));
        let response = match missing {
            _ if document.description == "unservable" => {
                Response::json(StatusCode::CONFLICT, &Failed { message: "cannot serve this".into() })
            }
            Some(addr) => Response::json(StatusCode::CONFLICT, &Failed { message: format!("no sockets for {addr}") }),
            None => {
                for (addr, sockets) in offered {
                    let mut held = self.held();
                    match held.iter_mut().find(|(known, _)| *known == addr) {
                        Some((_, all)) => all.extend(sockets),
                        None => held.push((addr, sockets)),
                    }
                }
                *served = (served.0 + 1, Some(document));
                Response::json(StatusCode::OK, &Applied { generation: served.0, took_us: 1 })
            }
        };
        let used: Vec<SocketAddr> = served.1.iter().flat_map(|document| document.sockets()).collect();
        self.held().retain(|(addr, _)| used.contains(addr));
        response
    }

    fn answer_clients(&self) {
        for (_, sockets) in self.held().iter() {
            for socket in sockets {
                while let Ok((mut client, _)) = socket.accept() {
                    let _ = writeln!(client, "{}", std::process::id());
                }
            }
        }
    }
}

impl HandoffStore for Plane {
    fn offered(&self, sockets: Sockets) {
        for (addr, fds) in sockets {
            let listeners = fds.into_iter().map(|fd: OwnedFd| TcpListener::from(fd)).collect();
            self.offered.lock().unwrap_or_else(PoisonError::into_inner).push((addr, listeners));
        }
    }

    fn held(&self) -> io::Result<Sockets> {
        let one = |socket: &TcpListener| socket.try_clone().map(OwnedFd::from);
        let copy = |sockets: &Vec<TcpListener>| sockets.iter().map(one).collect::<io::Result<Vec<_>>>();
        self.held().iter().map(|(addr, sockets)| Ok((*addr, copy(sockets)?))).collect()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let (plane, began) = (Arc::new(Plane::new()), Instant::now());
    let handoff = bind_socket(&options.handoff, 0o600, None)?;
    let control = bind_socket(&options.control, 0o600, None)?;
    let (shared, mut term) = (plane.clone(), signal(SignalKind::terminate())?);
    let answer = move |request: Request| {
        let plane = shared.clone();
        async move {
            let (generation, loadbalancer) = plane.served().clone();
            match (request.method, request.path.as_str()) {
                (Method::PUT, "/v1/document") => plane.apply(&String::from_utf8_lossy(&request.body)),
                (Method::GET, "/v1/document") => {
                    Response::json(StatusCode::OK, &DocumentReply { generation, loadbalancer })
                }
                (Method::GET, "/v1/stats") => Response::json(StatusCode::OK, &plane.stats()),
                (Method::GET, "/v1/events") => plane.events(request.query.as_deref().unwrap_or_default()).await,
                (Method::POST, "/v1/events") => plane.happened(&request.body),
                (Method::GET, "/v1/health") => {
                    let state = if generation > 0 { InstanceState::Serving } else { InstanceState::Waiting };
                    let uptime_ms = began.elapsed().as_millis() as u64;
                    let (pid, version) = (std::process::id(), String::new());
                    Response::json(StatusCode::OK, &Health { pid, version, uptime_ms, generation, workers: 1, state })
                }
                _ => Response::text(StatusCode::NOT_FOUND, "no"),
            }
        }
    };
    let clients = async {
        loop {
            plane.answer_clients();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = clients => {}
        _ = serve(control, answer) => {}
        _ = handoff::serve(handoff, plane.clone()) => {}
        _ = term.recv() => {}
    }
    Ok(())
}
