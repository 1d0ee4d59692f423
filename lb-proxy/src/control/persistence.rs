//! Persistence tables over the control socket: one part at a time out, all or nothing in.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::Bytes;
use lb_control::instance::Imported;
use lb_control::server::Response;
use lb_core::persistence::stream::{self, Export};
use tokio::sync::mpsc;

use super::failed;
use crate::instance::Instance;

/// Parts made ahead of a reader.
const AHEAD: usize = 1;

/// All tables as a stream. What is learned while it is read may be missing.
pub(super) fn export(instance: &Arc<Instance>) -> Response {
    let process = Arc::clone(&instance.process);
    let (sender, pieces) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let mut export = Export::new(&process.snapshot.load());
        while let Some(part) = export.next(process.now()) {
            if sender.send(Ok(Bytes::from(part))).await.is_err() {
                return;
            }
        }
    });
    Response::pieces("application/octet-stream", pieces)
}

pub(super) fn import(instance: &Instance, body: &[u8]) -> Response {
    match stream::import(&instance.process.snapshot.load(), body, instance.process.now()) {
        Ok(done) => {
            let reply = Imported { entries: done.entries, skipped: done.skipped };
            Response::json(StatusCode::OK, &reply)
        }
        Err(garbage) => failed(StatusCode::UNPROCESSABLE_ENTITY, format!("{garbage}; nothing was taken up")),
    }
}
