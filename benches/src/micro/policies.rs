//! Decisions by L7 policies: none, one, and many that all have to be asked.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::ensure;
use lb_core::l7::{Asked, TlsFacts};
use lb_core::snapshot::Snapshot;
use lb_proxy::http::h1::request::{self, Parts};
use serde_json::{Value, json};

use super::Scenario;
use super::heads::REQUEST_BROWSER;

pub(super) fn scenarios() -> Vec<Scenario> {
    let rule = |kind: &str, compare: &str, value: &str| json!({"type": kind, "compare_type": compare, "value": value});
    let mixed = |i: usize| match i % 5 {
        0 => rule("PATH", "STARTS_WITH", &format!("/area-{i}/")),
        1 => rule("HOST_NAME", "EQUAL_TO", &format!("shop-{i}.example.org")),
        2 => {
            json!({"type": "HEADER", "key": "Accept-Language", "compare_type": "STARTS_WITH", "value": format!("x{i}")})
        }
        3 => json!({"type": "COOKIE", "key": format!("group-{i}"), "compare_type": "EQUAL_TO", "value": "b"}),
        _ => rule("PATH", "CONTAINS", &format!("/part-{i}/")),
    };
    let paths = |i: usize| rule("PATH", "STARTS_WITH", &format!("/area-{i}/"));
    let expressions = |i: usize| rule("PATH", "REGEX", &format!("^/area-{i}/[0-9]+$"));
    vec![
        decide("1-path", (0..1).map(paths).collect()),
        decide("50-paths", (0..50).map(paths).collect()),
        decide("50-mixed", (0..50).map(mixed).collect()),
        decide("50-regexes", (0..50).map(expressions).collect()),
    ]
}

/// A browser's request, asked about by as many policies of one rule each, none of which matches.
fn decide(name: &str, rules: Vec<Value>) -> Scenario {
    Scenario::new(format!("l7-decide/{name}"), move || {
        let policies: Vec<Value> = rules.iter().map(|rule| json!({"action": "REJECT", "rules": [rule]})).collect();
        let document = json!({"loadbalancer": {
            "vip_address": "20.20.20.6",
            "listeners": [{"protocol": "HTTP", "protocol_port": 80, "l7policies": policies}],
        }});
        let config = lb_core::spec::read("micro", &document.to_string())?;
        let snapshot = Snapshot::build(Arc::new(config), &Snapshot::empty(), 1);
        let mut table = Vec::new();
        let parsed = request::parse(REQUEST_BROWSER.as_bytes(), &mut table);
        let Ok(head) = parsed else { anyhow::bail!("{parsed:?}") };
        let ask = move || {
            let policies = snapshot.listeners[0].policies.as_deref();
            let parts = Parts { request: &head, head: REQUEST_BROWSER.as_bytes(), table: &table };
            let asked = Asked::new(black_box(&parts), [192, 0, 2, 7].into(), TlsFacts::default(), &|| 0);
            policies.map(|policies| policies.decide(&asked, |_| ()))
        };
        ensure!(ask().is_some_and(|decision| decision.by.is_none()));
        Ok(Box::new(move || {
            black_box(ask());
        }))
    })
}
