//! What a client hears that is not served: a page of ours, then the end where it has to be, and a line in the log.

use std::io::IoSlice;
use std::time::Instant;

use super::answer::Told;
use super::exchange::write_line;
use super::h1::Framing;
use super::h1::request::{Malformed, Method};
use super::refusal::{self, Answer};
use super::session::{After, Books, LINGER_SILENCE, Request, Session};
use crate::clock;
use crate::observe::record::{Ending, Times, endings};
use crate::persistence::Noted;
use crate::timer::{Deadlines, Patience, Wait};
use crate::wire::{self, Stream};
use crate::worker::millis_between;

impl Session {
    /// Answers a request of a client that has sent too many: it may ask again in so many seconds.
    pub(super) async fn refuse_for(&mut self, mut request: Request, seconds: u64, from: &Stream, to: &Stream) -> After {
        let head = request.head;
        self.downstream.view.listener_cell(self.listener()).limits().client_request_rate.inc();
        if let Some(buffer) = &mut self.buffer {
            write_line(&head, buffer.filled(), from.is_of_http2(), &mut request.sheet.line);
            buffer.consume(head.len);
        }
        // What follows is the next request, unless a body comes that nobody is going to read.
        let goes_on = head.keep_alive && head.minor_version > 0 && head.body == Framing::None;
        let keeps = goes_on && !self.last && !self.downstream.worker.draining();
        let page = Answer { bodiless: head.method == Method::Head, keeps, retry_after: Some(seconds) };
        let (told, ending) = (Told::default(), endings::TOO_MANY_REQUESTS);
        let after = match self.refuse(ending, page, &told, to).await {
            After::Linger if keeps => After::Next,
            after => after,
        };
        let now = clock::now().into_std();
        let request_ms = millis_between(request.began, request.whole);
        let times = Times { request: request_ms, total: millis_between(request.began, now), ..Times::NONE };
        self.close_books(&Books {
            ending,
            began: request.began,
            times,
            told: &told,
            journey: None,
            pool: None,
            policy: None,
            noted: Noted::NOTHING,
            lease: None,
            line: &request.sheet.line,
            head_in: head.len as u64,
        });
        after
    }

    pub(super) async fn refuse_unread(&mut self, ending: Ending, began: Instant, to: &Stream) -> After {
        let told = Told::default();
        // There is no request, but whoever began with this takes no body for an answer's (RFC 9110 section 9.3.2).
        let bodiless = self.buffer.as_ref().is_some_and(|buffer| buffer.filled().starts_with(b"HEAD "));
        let after = self.refuse(ending, Answer { bodiless, ..Answer::default() }, &told, to).await;
        // What is answered before there is a request counts for nothing in HAProxy's lines.
        told.head_counted.set(0);
        let times = Times { total: millis_between(began, clock::now().into_std()), ..Times::NONE };
        self.close_books(&Books {
            ending,
            noted: Noted::NOTHING,
            began,
            times,
            told: &told,
            journey: None,
            pool: None,
            policy: None,
            lease: None,
            line: b"",
            head_in: 0,
        });
        after
    }

    /// Sends the page of `ending`, if it has one and nothing else was sent.
    pub async fn refuse(&self, ending: Ending, page: Answer, told: &Told, to: &Stream) -> After {
        if ending.status == 0 || told.client_told.get() {
            return After::Reset;
        }
        let cell = self.downstream.view.listener_cell(self.listener());
        cell.refusals.inc();
        let mut sheet = self.downstream.worker.buffers.lend_sheet();
        let counted = refusal::write(ending.status, &self.listener().error_pages, page, &mut sheet.out);
        told.head_counted.set(counted);
        told.head_bytes.set(sheet.out.len() as u64);
        told.status.set(ending.status);
        // A client that does not take a page of a few hundred bytes is not waited for.
        let unused = Deadlines::default();
        let patience = Patience::new(&unused, Wait::ClientRead, 0);
        let writing = async { wire::write_all(to, &mut [IoSlice::new(&sheet.out)], patience).await };
        match tokio::time::timeout(LINGER_SILENCE, writing).await {
            Ok(Ok(())) => After::Linger,
            _ => After::Close,
        }
    }
}

/// How a request ends that is none.
pub(super) fn refusing(bad: Malformed) -> Ending {
    Ending { flags: *b"PR", status: bad.status(), reason: bad.reason() }
}
