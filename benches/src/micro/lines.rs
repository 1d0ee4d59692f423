//! Log lines: noted by a worker, written out by the log thread.

use std::hint::black_box;
use std::time::Instant;

use anyhow::ensure;
use jiff::Timestamp;
use lb_core::config::LogFormat;
use lb_proxy::observe::format::{self, WallClock};
use lb_proxy::observe::queue::{Batch, Log};
use lb_proxy::observe::record::{Load, Record, SinkId, Times, Words, endings};
use lb_proxy::persistence::Noted;

use super::{CALLS_ALL, Scenario};

const WORDS: Words<'_> = Words {
    listener: "http",
    pool: Some("web"),
    member: Some("web-7"),
    policy: None,
    line: b"GET /shop/articles/20451 HTTP/1.1",
};

fn record(http: bool) -> Record {
    Record {
        sink: SinkId(0),
        http,
        began: Instant::now(),
        client: ([192, 0, 2, 117], 50_412).into(),
        times: Times { request: 0, queue: 0, connect: 1, response: 12, total: 14 },
        status: if http { 200 } else { 0 },
        bytes_counted: 18_641,
        bytes_out: 18_702,
        bytes_in: 912,
        ending: endings::SERVED,
        unnamed: None,
        noted: Noted::NOTHING,
        load: Load { process: 64, listener: 48, pool: 31, member: 4 },
        retries: 0,
        redispatched: false,
        queued: lb_proxy::waiting::Queued::default(),
    }
}

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        note(),
        line("httplog", LogFormat::Httplog, true),
        line("tcplog", LogFormat::Tcplog, false),
        line("json", LogFormat::Json, true),
    ]
}

fn note() -> Scenario {
    Scenario::new("log-note", || {
        let (log, record) = (Log::new(1), record(true));
        let mut spare = Batch::default();
        // The two batches that change places, grown as they are when there is traffic.
        for _ in 0..2 {
            (0..CALLS_ALL).for_each(|_| log.note(0, &record, WORDS));
            log.take(&mut spare, |_| {});
        }
        ensure!(log.dropped() == 0);
        Ok(Box::new(move || log.note(0, black_box(&record), black_box(WORDS))))
    })
}

fn line(name: &str, format: LogFormat, http: bool) -> Scenario {
    Scenario::new(format!("log-line/{name}"), move || {
        let (record, mut line, mut clock) = (record(http), Vec::new(), WallClock::default());
        let words = if http { WORDS } else { Words { line: b"", ..WORDS } };
        let began = Timestamp::from_millisecond(1_770_091_506_789)?;
        format::line(format, &record, words, began, &mut clock, &mut line);
        let text = String::from_utf8_lossy(&line);
        ensure!(text.contains("192.0.2.117"), "{text}");
        Ok(Box::new(move || {
            line.clear();
            format::line(black_box(format), black_box(&record), black_box(words), began, &mut clock, &mut line);
        }))
    })
}
