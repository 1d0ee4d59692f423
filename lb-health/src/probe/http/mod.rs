//! `HTTP`: one request in one write; the answer's status is judged once its head is complete, as HAProxy does it, and its
//! body only if something is expected of it.

pub mod body;
pub mod head;
mod request;
pub mod search;

use std::net::SocketAddr;

use lb_core::config::monitor::{ExpectedCodes, HttpProbe};
use lb_core::health::{Bad, Good, Step};

use crate::prober::ProberError;
use crate::wire::Wire;
use body::BodyReader;
use head::{Head, HeadReader};
use request::Request;
use search::Search;

pub(crate) const PORT: u16 = 80;
pub(crate) const PORT_TLS: u16 = 443;

/// An HTTP probe, rendered as far as it can be.
#[derive(Debug)]
pub(crate) struct Http {
    request: Request,
    /// The method is HEAD: no body follows, whatever the head says.
    head_only: bool,
    expected_codes: ExpectedCodes,
    expected_body: Option<Search>,
}

impl Http {
    pub(crate) fn new(probe: &HttpProbe, default_port: u16) -> Result<Self, ProberError> {
        Ok(Self {
            request: Request::new(probe, default_port),
            head_only: probe.method == "HEAD",
            expected_codes: probe.expected_codes.clone(),
            expected_body: probe.expected_body.as_ref().map(Search::new).transpose()?,
        })
    }
}

/// Sends the request, after `before`, and judges the answer.
pub(crate) async fn ask(
    http: &Http,
    mut wire: Wire,
    member: SocketAddr,
    before: &[u8],
    step: &mut Step,
) -> Result<Good, Bad> {
    wire.send(&http.request.bytes(before, member), step, Step::Send).await?;
    let mut said = Vec::new();
    let head = read_head(&mut wire, &mut said, step).await?;
    if !http.expected_codes.contain(head.status) {
        return Err(Bad::Status(head.status));
    }
    let Some(search) = &http.expected_body else {
        return Ok(Good::Status(head.status));
    };
    let body = BodyReader::new(if http.head_only { head::Length::Exactly(0) } else { head.length });
    match find(search, body, &mut wire, said, head.end, step).await? {
        true => Ok(Good::Status(head.status)),
        false => Err(Bad::Body),
    }
}

async fn read_head(wire: &mut Wire, said: &mut Vec<u8>, step: &mut Step) -> Result<Head, Bad> {
    let mut reader = HeadReader::default();
    loop {
        let ended = wire.read(said, step).await? == 0;
        match reader.look(said) {
            Ok(Some(head)) => return Ok(head),
            Ok(None) if ended => return Err(Bad::Closed(Step::Answer, None)),
            Ok(None) => {}
            Err(why) => return Err(Bad::Malformed(why)),
        }
    }
}

/// True if the body has what is looked for. The time may run out before that is known.
async fn find(
    search: &Search,
    mut body: BodyReader,
    wire: &mut Wire,
    mut said: Vec<u8>,
    head_end: usize,
    step: &mut Step,
) -> Result<bool, Bad> {
    said.drain(..head_end);
    let mut hunt = search.begin();
    let mut ended = false;
    loop {
        if ended {
            body.end();
        } else {
            body.take(&said).map_err(Bad::Malformed)?;
        }
        if hunt.found(body.text(), body.is_whole()) {
            return Ok(true);
        }
        if body.is_whole() {
            return Ok(false);
        }
        if ended {
            return Err(Bad::Closed(Step::Answer, None));
        }
        said.clear();
        ended = wire.read(&mut said, step).await? == 0;
    }
}
