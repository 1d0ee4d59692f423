//! The control socket: what `lb_control::instance` promises, answered from the control thread.

mod persistence;

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use lb_control::explain::{self, Question};
use lb_control::instance::{DocumentReply, EVENTS_WAIT_MAX, Failed, GivenFiles, Health, InstanceState, Refused};
use lb_control::server::{Request, Response};

use crate::explain::NoAnswer;
use crate::instance::{self, Instance};
use crate::observe::stats;

/// Answers one request.
pub async fn handle(instance: Arc<Instance>, request: Request) -> Response {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/v1/document") => Response::json(StatusCode::OK, &document(&instance)),
        ("PUT", "/v1/document") => replace(&instance, &request.body).await,
        ("PUT", "/v1/files") => give(&instance, &request.body),
        ("POST", "/v1/tls") => match instance.renew_tls() {
            Ok(()) => Response::text(StatusCode::OK, "certificates and keys were read anew"),
            Err(error) => failed(StatusCode::CONFLICT, error.to_string()),
        },
        ("GET", "/v1/stats") => Response::json(StatusCode::OK, &stats::gather(&instance)),
        ("GET", "/v1/events") => events(&instance, request.query.as_deref().unwrap_or_default()).await,
        ("GET", "/v1/health") => Response::json(StatusCode::OK, &health(&instance)),
        ("GET", "/v1/persistence") => persistence::export(&instance),
        ("PUT", "/v1/persistence") => persistence::import(&instance, &request.body),
        ("POST", explain::PATH) => explain(&instance, &request.body),
        ("POST", "/v1/drain") => {
            instance.request_drain();
            Response::text(StatusCode::ACCEPTED, "draining")
        }
        (
            _,
            "/v1/document"
            | "/v1/files"
            | "/v1/tls"
            | "/v1/stats"
            | "/v1/events"
            | "/v1/health"
            | "/v1/persistence"
            | "/v1/drain"
            | explain::PATH,
        ) => failed(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {}", request.path, request.method)),
        _ => failed(StatusCode::NOT_FOUND, format!("there is no {}", request.path)),
    }
}

fn failed(status: StatusCode, message: String) -> Response {
    Response::json(status, &Failed { message })
}

fn explain(instance: &Instance, question: &[u8]) -> Response {
    let question: Question = match serde_json::from_slice(question) {
        Ok(question) => question,
        Err(error) => return failed(StatusCode::BAD_REQUEST, format!("this is no question: {error}")),
    };
    match crate::explain::explain(instance, &question) {
        Ok(explanation) => Response::json(StatusCode::OK, &explanation),
        Err(NoAnswer::Senseless(words)) => failed(StatusCode::BAD_REQUEST, words),
        Err(NoAnswer::NotFound(not_found)) => Response::json(StatusCode::NOT_FOUND, &not_found),
    }
}

async fn events(instance: &Instance, query: &str) -> Response {
    let number = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.map_or(Ok(0), str::parse::<u64>)
    };
    let (Ok(row), Ok(after), Ok(wait_ms)) = (number("row"), number("after"), number("wait_ms")) else {
        return failed(StatusCode::BAD_REQUEST, "row, after and wait_ms are numbers".to_owned());
    };
    let wait = Duration::from_millis(wait_ms).min(EVENTS_WAIT_MAX);
    Response::json(StatusCode::OK, &instance.minder.timeline.after(row, after, wait).await)
}

fn give(instance: &Instance, body: &[u8]) -> Response {
    let given: Result<GivenFiles, _> = serde_json::from_slice(body);
    let Ok(Ok(files)) = given.map(GivenFiles::decode) else {
        return failed(StatusCode::BAD_REQUEST, "files are an object of paths and base64".to_owned());
    };
    instance.give_files(files);
    Response::text(StatusCode::NO_CONTENT, "")
}

fn document(instance: &Instance) -> DocumentReply {
    let snapshot = instance.process.snapshot.load();
    DocumentReply { generation: snapshot.generation, loadbalancer: snapshot.config.as_deref().cloned() }
}

async fn replace(instance: &Instance, body: &[u8]) -> Response {
    let Ok(text) = std::str::from_utf8(body) else {
        return failed(StatusCode::BAD_REQUEST, "the document is not UTF-8".to_owned());
    };
    let understood = match instance::understand("<request>", text) {
        Ok(understood) => understood,
        Err(error) => return failed(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    match understood {
        Ok(config) => match instance.apply(config).await {
            Ok(applied) => Response::json(StatusCode::OK, &applied),
            Err(error) => failed(StatusCode::CONFLICT, error.to_string()),
        },
        Err(mistakes) => {
            instance.forget_offers();
            let refused = Refused {
                message: format!("{} mistakes, nothing was applied", mistakes.mistakes.len()),
                rendered: mistakes.rendered,
                mistakes: mistakes.mistakes,
            };
            Response::json(StatusCode::UNPROCESSABLE_ENTITY, &refused)
        }
    }
}

fn health(instance: &Instance) -> Health {
    let generation = instance.process.snapshot.load().generation;
    let state = match (instance.process.draining(), generation) {
        (true, _) => InstanceState::Draining,
        (false, 0) => InstanceState::Waiting,
        (false, _) => InstanceState::Serving,
    };
    Health {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: instance.process.now().0,
        generation,
        workers: instance.workers(),
        state,
    }
}
