//! Whatever a request carries, policies decide about it, in both forms a head can be looked at alike, and what they change
//! still reads as one request.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use lb_core::l7::{Asked, TlsFacts};
use lb_core::snapshot::Snapshot;
use lb_proxy::http::h1::request::{Additions, Malformed, Parts, parse, write};
use lb_proxy::http::h1::{FIELDS_MAX, HEAD_MAX, head_end};
use lb_proxy::http::policy::Changed;

/// One rule of each type and comparison, none of which is about chance.
const DOCUMENT: &str = include_str!("../../l7_policies.yaml");

fn snapshot() -> &'static Snapshot {
    static SNAPSHOT: OnceLock<Snapshot> = OnceLock::new();
    SNAPSHOT.get_or_init(|| {
        let config = lb_core::spec::read("l7_policies.yaml", DOCUMENT).expect("a legal document");
        Snapshot::build(Arc::new(config), &Snapshot::empty(), 1)
    })
}

pub(super) fn run(bytes: &[u8]) {
    if bytes.len() > HEAD_MAX {
        return;
    }
    let Some(len) = head_end(bytes, 0) else { return };
    let head = &bytes[..len];
    let mut table = Vec::new();
    let Ok(request) = parse(head, &mut table) else { return };
    let policies = snapshot().listeners[0].policies.as_deref().expect("policies");
    let client = SocketAddr::from(([192, 0, 2, 7], 4711));
    let decide = |request, head, table: &_| {
        let parts = Parts { request, head, table };
        let asked = Asked::new(&parts, client.ip(), TlsFacts::default(), &|| 7);
        policies.decide(&asked, |_| ())
    };
    let decision = decide(&request, head, &table);

    // The head a member would get is decided about alike.
    let local = SocketAddr::from(([198, 51, 100, 1], 80));
    let add = Additions {
        told: None,
        insert: Default::default(),
        client: client.ip(),
        scheme: "http",
        local,
        cookies: None,
        trailers: false,
    };
    let mut plain = Vec::new();
    write(&request, head, &table, &add, None, &mut plain);
    let mut again = Vec::new();
    match parse(&plain, &mut again) {
        // A host was added: then rules see one more field.
        Ok(second)
            if lb_core::request::Parts::field(&Parts { request: &request, head, table: &table }, b"host").is_some() =>
        {
            assert_eq!(decide(&second, &plain, &again), decision, "{:?}", String::from_utf8_lossy(&plain));
        }
        _ => {}
    }

    // What is changed is still one request.
    let changed = Changed { changes: policies.changes(decision), client: &client };
    changed.drop_from_request(head, &mut table);
    let mut out = Vec::new();
    write(&request, head, &table, &add, Some(&changed), &mut out);
    assert_eq!(head_end(&out, 0), Some(out.len()), "one head");
    match parse(&out, &mut again) {
        Err(Malformed::TooLarge | Malformed::TargetTooLong) if table.len() + 8 > FIELDS_MAX || out.len() > 12_000 => {}
        // It went as far as it may.
        Err(Malformed::LastHop) => {}
        other => assert_eq!(other.expect("what is forwarded is a request").body, request.body),
    }
}
