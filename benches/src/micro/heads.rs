//! Heads: found, read and judged, written for the other side.

use std::hint::black_box;

use anyhow::ensure;
use lb_core::config::InsertHeaders;
use lb_proxy::http::h1::head_end;
use lb_proxy::http::h1::request::{self, Additions, Method};
use lb_proxy::http::h1::response::{self, Added, ConnectionWord};

use super::Scenario;

/// What a load generator sends.
const REQUEST_SMALL: &str = "GET /b/64 HTTP/1.1\r\n\
    Host: 20.20.20.6\r\n\
    User-Agent: wrk/4.1.0\r\n\
    Accept: */*\r\n\r\n";

/// What a browser sends: 12 fields, 900 bytes, a third of them cookies.
pub(super) const REQUEST_BROWSER: &str = "GET /shop/articles/20451?sort=price&page=3 HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Referer: https://shop.example.com/shop/articles?sort=price&page=2\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n\
    Cookie: session=8f14e45fceea167a5a36dedd4bea2543; consent=necessary%2Cstatistics%2Cmarketing; \
    _track=GA1.2.1893041427.1719238471; basket=eyJpdGVtcyI6W3siaWQiOjIwNDUxLCJuIjoxfSx7ImlkIjoxMTgsIm4iOjJ9XX0; \
    theme=dark; lang=de; SERVERID=web-7; csrf=0b3c1e8f9a7d4c52a1e6d4b8\r\n\r\n";

/// What a small service answers.
const RESPONSE_SMALL: &str = "HTTP/1.1 200 OK\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 64\r\n\r\n";

/// What an application behind a web server answers: 12 fields.
const RESPONSE_12_FIELDS: &str = "HTTP/1.1 200 OK\r\n\
    Server: nginx\r\n\
    Date: Tue, 03 Feb 2026 04:05:06 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 18211\r\n\
    Connection: keep-alive\r\n\
    Last-Modified: Mon, 02 Feb 2026 17:21:00 GMT\r\n\
    ETag: \"6980e2bc-4723\"\r\n\
    Vary: Accept-Encoding\r\n\
    Cache-Control: private, max-age=60\r\n\
    Set-Cookie: session=8f14e45fceea167a5a36dedd4bea2543; Path=/; Secure; HttpOnly; SameSite=Lax\r\n\
    Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n\
    X-Request-Id: 4f0c1b52-7f0a-4a5e-9d0e-3b6f6f0f6c11\r\n\r\n";

fn request_64_fields() -> String {
    let fields: String = (1..64).map(|i| format!("X-Field-{i:02}: value {i:02} of a long list\r\n")).collect();
    format!("GET /api/v1/items HTTP/1.1\r\nHost: api.example.com\r\n{fields}\r\n")
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let requests = [
        ("small", REQUEST_SMALL.to_owned(), 3),
        ("browser", REQUEST_BROWSER.to_owned(), 12),
        ("64-fields", request_64_fields(), 64),
    ];
    let responses = [("small", RESPONSE_SMALL, 2), ("12-fields", RESPONSE_12_FIELDS, 12)];
    let mut all = Vec::new();
    all.extend(requests.iter().map(|(name, head, _)| end(name, head.clone())));
    all.extend(requests.iter().map(|(name, head, fields)| parse_request(name, head.clone(), *fields)));
    all.extend(requests.iter().map(|(name, head, _)| write_request(name, head.clone())));
    all.extend(responses.iter().map(|(name, head, fields)| parse_response(name, head, *fields)));
    all.extend(responses.iter().map(|(name, head, _)| write_response(name, head)));
    all
}

fn end(name: &str, head: String) -> Scenario {
    Scenario::new(format!("head-end/{name}"), move || {
        ensure!(head_end(head.as_bytes(), 0) == Some(head.len()), "not one head");
        Ok(Box::new(move || {
            black_box(head_end(black_box(head.as_bytes()), 0));
        }))
    })
}

fn parse_request(name: &str, head: String, fields: usize) -> Scenario {
    Scenario::new(format!("request-parse/{name}"), move || {
        let mut table = Vec::new();
        ensure!(request::parse(head.as_bytes(), &mut table).is_ok() && table.len() == fields, "{head:?}");
        Ok(Box::new(move || {
            let _ = black_box(&request::parse(black_box(head.as_bytes()), &mut table));
        }))
    })
}

/// With `X-Forwarded-For`, for a client of IPv4.
fn write_request(name: &str, head: String) -> Scenario {
    Scenario::new(format!("request-write/{name}"), move || {
        let (mut table, mut out) = (Vec::new(), Vec::new());
        let parsed = request::parse(head.as_bytes(), &mut table);
        let Ok(request) = parsed else { anyhow::bail!("{head:?}: {parsed:?}") };
        let insert = InsertHeaders { x_forwarded_for: true, ..InsertHeaders::default() };
        let add = Additions {
            insert,
            told: None,
            client: [192, 0, 2, 117].into(),
            scheme: "http",
            local: ([20, 20, 20, 6], 80).into(),
            cookies: None,
        };
        Ok(Box::new(move || {
            out.clear();
            request::write(black_box(&request), head.as_bytes(), &table, black_box(&add), black_box(None), &mut out);
        }))
    })
}

fn parse_response(name: &str, head: &'static str, fields: usize) -> Scenario {
    Scenario::new(format!("response-parse/{name}"), move || {
        let mut table = Vec::new();
        let parsed = response::parse(head.as_bytes(), Method::Idempotent, &mut table);
        ensure!(parsed.is_ok() && table.len() == fields, "{head:?}");
        Ok(Box::new(move || {
            let _ = black_box(&response::parse(black_box(head.as_bytes()), black_box(Method::Idempotent), &mut table));
        }))
    })
}

fn write_response(name: &str, head: &'static str) -> Scenario {
    Scenario::new(format!("response-write/{name}"), move || {
        let (mut table, mut out) = (Vec::new(), Vec::new());
        let parsed = response::parse(head.as_bytes(), Method::Idempotent, &mut table);
        let Ok(response) = parsed else { anyhow::bail!("{head:?}: {parsed:?}") };
        Ok(Box::new(move || {
            out.clear();
            let word = black_box(ConnectionWord::Implied);
            let nothing = Added::default();
            black_box(response::write(black_box(&response), head.as_bytes(), &table, nothing, word, false, &mut out));
        }))
    })
}
