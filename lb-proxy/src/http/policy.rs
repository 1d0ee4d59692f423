//! What the listener's policies make of a request: where it goes, or what it is answered here.

use std::io::IoSlice;
use std::net::SocketAddr;

use lb_core::l7::change::Client;
use lb_core::l7::policy::Action;
use lb_core::l7::{Asked, Changes, Decision, FieldEdits, ListenerPolicies, Policy, PolicyIndex, TlsFacts, Way};
use lb_core::member::PolicyCell;
use lb_core::request::Parts as _;
use lb_core::snapshot::PoolIndex;

use super::answer;
use super::exchange::held_body;
use super::h1::fields::{Field, write_field};
use super::h1::request::{Method, Parts};
use super::redirect;
use super::refusal;
use super::session::{After, LINGER_SILENCE, Request, Session};
use crate::buffer::Buffer;
use crate::listener::Downstream;
use crate::observe::record::{Ending, endings};
use crate::timer::{Deadlines, Patience, Wait};
use crate::tls::facts::Told;
use crate::wire::{self, Stream};

/// What becomes of one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice {
    /// Whose members serve it.
    pub pool: Option<PoolIndex>,
    /// It is answered here instead.
    pub answered_here: bool,
    /// What the policies said.
    pub decision: Decision,
}

/// The policy that wants a copy of a request, and the pool the copy goes to.
pub type Mirror = (PolicyIndex, PoolIndex);

/// What policies change of a request or its answer, and the client that values may tell of.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'p> {
    /// Never empty.
    pub changes: Changes<'p>,
    /// Who asked.
    pub client: &'p SocketAddr,
}

impl Changed<'_> {
    /// Keeps fields of a request from being forwarded that a member does not get as they came.
    pub fn drop_from_request(&self, head: &[u8], table: &mut [Field]) {
        drop_fields(self.changes.request(), head, table);
    }

    /// The same for an answer.
    pub fn drop_from_response(&self, head: &[u8], table: &mut [Field]) {
        drop_fields(self.changes.response(), head, table);
    }

    /// True if the request names another host than it came with.
    pub fn sets_host(&self) -> bool {
        self.changes.request().drops(b"host")
    }

    /// Writes the fields a member gets besides.
    pub fn add_to_request(&self, out: &mut Vec<u8>) {
        self.add(self.changes.request(), out);
    }

    /// Writes the fields the client gets besides; returns their size as HAProxy counts it.
    pub fn add_to_response(&self, out: &mut Vec<u8>) -> usize {
        self.add(self.changes.response(), out)
    }

    fn add(&self, edits: FieldEdits<'_>, out: &mut Vec<u8>) -> usize {
        let before = out.len();
        let mut fields = 0;
        for (name, value) in edits.added() {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            value.write(Client(*self.client), out);
            out.extend_from_slice(b"\r\n");
            fields += 1;
        }
        out.len() - before - ": \r\n".len() * fields
    }
}

fn drop_fields(edits: FieldEdits<'_>, head: &[u8], table: &mut [Field]) {
    for field in table.iter_mut().filter(|field| field.forward) {
        field.forward = !edits.drops(field.name.in_(head));
    }
}

impl Session {
    /// Asks the policies about a request whose head is still at the front of `buffer`.
    pub fn choose(&self, request: &Request, buffer: &Buffer, from: &Stream) -> (Choice, Option<Mirror>) {
        match &self.listener().policies {
            None => (Choice { pool: self.listener().pool, ..Choice::default() }, None),
            Some(policies) => self.ask(policies, request, buffer, from.told().as_deref()),
        }
    }

    fn ask(
        &self,
        policies: &ListenerPolicies,
        request: &Request,
        buffer: &Buffer,
        told: Option<&Told>,
    ) -> (Choice, Option<Mirror>) {
        let head = &buffer.filled()[..request.head.len];
        let parts = Parts { request: &request.head, head, table: &request.sheet.fields };
        let draw = || u64::from(self.downstream.worker.draws.next()) << 32;
        let asked = Asked::new(&parts, self.downstream.peer.ip(), told.map_or_else(TlsFacts::default, facts), &draw);
        let decision = policies.decide(&asked, |i| self.policy_cell(&policies.policies[i]).matched.inc());
        let (pool, answered_here) = match policies.way(decision, self.listener().pool) {
            Way::Pool(pool) => (pool, false),
            Way::AnsweredHere => (None, true),
        };
        let mirror = policies.changes(decision).mirror(&asked);
        (Choice { pool, answered_here, decision }, mirror)
    }

    /// This worker's figures of a policy.
    pub fn policy_cell<'p>(&self, policy: &'p Policy) -> &'p std::sync::Arc<PolicyCell> {
        policy.cells.of(self.downstream.worker.index)
    }

    /// The policy that decided, if one did.
    pub fn deciding(&self, choice: &Choice) -> Option<&Policy> {
        self.listener().policies.as_ref()?.of(choice.decision)
    }

    /// Writes where the client is sent, if it is; the head must not be dealt with yet.
    pub fn write_location(&self, choice: &Choice, parts: &Parts<'_>, out: &mut Vec<u8>) {
        match self.deciding(choice).map(|policy| &policy.action) {
            Some(Action::ToUrl(url, _)) => out.extend_from_slice(url),
            Some(Action::ToPrefix(prefix, _)) => {
                out.extend_from_slice(prefix);
                // `*` has no path.
                out.extend_from_slice(if parts.target() == b"*" { b"/" } else { parts.target() });
            }
            _ => {}
        }
    }

    /// Answers a request as its policy says: with a refusal, or a redirect to what [`Self::write_location`] wrote. The
    /// connection stays open unless the request has a body that is still to come.
    pub async fn answer_here(
        &self,
        choice: &Choice,
        request: &Request,
        buffer: &mut Buffer,
        told: &answer::Told,
        to: &Stream,
    ) -> (Ending, After) {
        let (head, worker) = (&request.head, &self.downstream.worker);
        let held = held_body(head, buffer);
        buffer.consume(held.unwrap_or(0));
        told.body_in.set(held.unwrap_or(0) as u64);
        let keeps = held.is_some() && head.keep_alive && head.minor_version > 0 && !self.last && !worker.draining();
        let bodiless = head.method == Method::Head;
        let mut page = worker.buffers.lend_sheet();
        let (ending, status, counted) = match self.deciding(choice).map(|policy| &policy.action) {
            Some(Action::ToUrl(_, status) | Action::ToPrefix(_, status)) => {
                let counted = redirect::write(*status, &request.sheet.out, keeps, &mut page.out);
                (endings::REDIRECTED, *status, counted)
            }
            _ => {
                let answer = refusal::Answer { bodiless, keeps, ..refusal::Answer::default() };
                let counted = refusal::write(403, &self.listener().error_pages, answer, &mut page.out);
                (endings::REJECTED, 403, counted)
            }
        };
        self.downstream.view.listener_cell(self.listener()).refusals.inc();
        told.client_told.set(true);
        told.status.set(status);
        told.head_counted.set(counted);
        told.head_bytes.set(page.out.len() as u64);
        // A client that does not take an answer of a few hundred bytes is not waited for.
        let unused = Deadlines::default();
        let patience = Patience::new(&unused, Wait::ClientWrite, 0);
        let writing = async { wire::write_all(to, &mut [IoSlice::new(&page.out)], patience).await };
        let written = tokio::time::timeout(LINGER_SILENCE, writing).await;
        let after = match (written, keeps, held) {
            (Ok(Ok(())), true, _) => After::Next,
            (Ok(Ok(())), false, None) => After::Linger,
            _ => After::Close,
        };
        (ending, after)
    }
}

impl Downstream {
    /// What the policies change of a request and its answer; `None`: nothing.
    pub fn changed(&self, choice: &Choice) -> Option<Changed<'_>> {
        if choice.decision.changes_nothing() {
            return None;
        }
        let changes = self.listener.policies.as_ref()?.changes(choice.decision);
        Some(Changed { changes, client: &self.peer })
    }
}

/// What a client told in its handshake, as rules ask for it.
fn facts(told: &Told) -> TlsFacts<'_> {
    let certificate = told.certificate.as_ref();
    TlsFacts {
        has_cert: certificate.is_some(),
        // A certificate that is not good leads to no connection.
        verify_result: Some(0),
        dn_fields: certificate.map_or(&[], |facts| &facts.subject_fields),
    }
}

/// Writes a field line whose value is known.
pub(super) fn field(name: &str, value: &[u8], out: &mut Vec<u8>) -> usize {
    write_field(out, name.as_bytes(), value);
    name.len() + value.len()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lb_core::snapshot::Snapshot;

    use super::super::h1::request::{self, Additions};
    use super::super::h1::{FIELDS_MAX, head_end};
    use super::*;

    fn snapshot(policies: &str) -> Snapshot {
        let document = format!(
            "loadbalancer: {{vip_address: 198.51.100.1, listeners: [{{protocol: HTTP, protocol_port: 80, l7policies: \
             [{policies}]}}]}}"
        );
        let config = lb_core::spec::read("test", &document).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        Snapshot::build(Arc::new(config), &Snapshot::empty(), 1)
    }

    const CHANGING: &str = "
        {action: PASS, rules: [{type: PATH, compare_type: STARTS_WITH, value: /}], set_request_headers: {X: '%{client_ip}',
          Host: 'inside.test:81'}, remove_request_headers: [Cookie], rewrite_path_prefix: {from: /a, to: /}},
        {action: PASS, rules: [{type: METHOD, compare_type: EQUAL_TO, value: POST}], append_request_headers: {X: b},
          set_request_headers: {Host: other}, rewrite_path_prefix: {from: /, to: /b/c}}";

    /// The head a member gets of this one, whatever the policies make of it.
    fn changed(snapshot: &Snapshot, head: &[u8]) -> Option<Vec<u8>> {
        let mut table = Vec::new();
        let request = request::parse(head, &mut table).ok()?;
        let policies = snapshot.listeners[0].policies.as_deref().expect("policies");
        let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
        let parts = Parts { request: &request, head, table: &table };
        let asked = Asked::new(&parts, peer.ip(), TlsFacts::default(), &|| 0);
        let decision = policies.decide(&asked, |_| ());
        let changed = Changed { changes: policies.changes(decision), client: &peer };
        changed.drop_from_request(head, &mut table);
        let local = SocketAddr::from(([198, 51, 100, 1], 80));
        let add = Additions {
            told: None,
            insert: Default::default(),
            client: peer.ip(),
            scheme: "http",
            local,
            cookies: None,
            trailers: false,
        };
        let mut out = Vec::new();
        request::write(&request, head, &table, &add, Some(&changed), &mut out);
        Some(out)
    }

    #[test]
    fn a_head_is_changed_in_one_place_each() {
        let snapshot = snapshot(CHANGING);
        let of =
            |head: &str| String::from_utf8(changed(&snapshot, head.as_bytes()).expect("a request")).expect("ASCII");
        assert_eq!(
            of("GET http://real/a/b?c HTTP/1.1\r\nHost: x\r\nCookie: 1\r\nA: b\r\nx: 2\r\n\r\n"),
            "GET /b?c HTTP/1.1\r\nA: b\r\nHost: inside.test:81\r\nX: 192.0.2.7\r\n\r\n"
        );
        assert_eq!(
            of("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n"),
            "POST /b/c/x HTTP/1.1\r\nContent-Length: 1\r\nX: 192.0.2.7\r\nHost: other\r\nX: b\r\n\r\n"
        );
        assert_eq!(of("GET / HTTP/1.0\r\n\r\n"), "GET / HTTP/1.1\r\nHost: inside.test:81\r\nX: 192.0.2.7\r\n\r\n");
        assert_eq!(of("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"), "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n");
    }

    /// Every type and comparison, policies that match and change, and all that is written.
    #[test]
    fn what_is_decided_and_changed_takes_no_memory() {
        const TEXTS: [(&str, &str); 6] = [
            ("HOST_NAME", ""),
            ("PATH", ""),
            ("HEADER", "key: Accept, "),
            ("COOKIE", "key: sid, "),
            ("METHOD", ""),
            ("QUERY", "key: c, "),
        ];
        const COMPARISONS: [&str; 5] = ["EQUAL_TO", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "REGEX"];
        let mut rules: Vec<String> = Vec::new();
        for (kind, key) in TEXTS {
            rules.extend(COMPARISONS.map(|c| format!("{{type: {kind}, {key}compare_type: {c}, value: 'q+[uz]x'}}")));
        }
        for rule in [
            "type: FILE_TYPE, compare_type: REGEX, value: '^j(pg|s)$'",
            "type: FILE_TYPE, compare_type: EQUAL_TO, value: js",
            "type: SSL_CONN_HAS_CERT, value: 'True'",
            "type: SSL_VERIFY_RESULT, value: 10",
            "type: SSL_DN_FIELD, compare_type: REGEX, key: CN, value: x",
            "type: SOURCE_IP, value: '10.0.0.0/8, 2001:db8::/32'",
            "type: PERCENT, value: 0, key: 'COOKIE:sid'",
        ] {
            rules.push(format!("{{{rule}}}"));
        }
        let misses = rules.iter().map(|rule| format!("{{action: REJECT, rules: [{rule}]}},")).collect::<String>();
        let snapshot = snapshot(&format!("{misses}{CHANGING}"));
        let policies = snapshot.listeners[0].policies.as_deref().expect("policies");
        let head = "GET /a/b?c=d HTTP/1.1\r\nHost: www.example.org\r\nAccept: text/html, */*;q=0.1\r\nCookie: a=b; sid=0815\r\n\r\n";
        let mut table = Vec::with_capacity(FIELDS_MAX);
        let request = request::parse(head.as_bytes(), &mut table).expect("a request");
        let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
        let fields = [("CN".into(), "client".into())];
        let tls = TlsFacts { has_cert: false, verify_result: Some(0), dn_fields: &fields };
        let insert = lb_core::config::InsertHeaders { x_forwarded_for: true, ..Default::default() };
        let local = SocketAddr::from(([198, 51, 100, 1], 80));
        let add =
            Additions { told: None, insert, client: peer.ip(), scheme: "http", local, cookies: None, trailers: false };
        let mut out = Vec::with_capacity(4096);
        let fresh = table.clone();
        let mut once = || {
            out.clear();
            table.copy_from_slice(&fresh);
            let parts = Parts { request: &request, head: head.as_bytes(), table: &table };
            let asked = Asked::new(&parts, peer.ip(), tls, &|| 0);
            let mut matched = 0;
            let decision = policies.decide(&asked, |_| matched += 1);
            let changes = policies.changes(decision);
            let copied = changes.mirror(&asked);
            let changed = Changed { changes, client: &peer };
            changed.drop_from_request(head.as_bytes(), &mut table);
            request::write(&request, head.as_bytes(), &table, &add, Some(&changed), &mut out);
            assert!(matched == 1 && copied.is_none() && out.starts_with(b"GET /b?c=d"), "{matched}");
        };
        // Expressions build what they need when they are first asked.
        once();
        once();
        assert_eq!(crate::sys::counted::asked_for(|| (0..100).for_each(|_| once())), 0);
        assert!(crate::sys::counted::asked_for(|| drop(std::hint::black_box(vec![0u8; 7]))) > 0);
    }

    #[test]
    fn a_handshake_is_known_by_what_the_client_showed() {
        let fields = vec![("O".into(), "oslb".into()), ("CN".into(), "client".into())];
        let certificate = crate::tls::facts::ClientFacts { subject_fields: fields, ..Default::default() };
        let shown = Told { certificate: Some(certificate), ..Told::default() };
        let of_shown = facts(&shown);
        assert!(of_shown.has_cert && of_shown.verify_result == Some(0) && of_shown.dn_fields.len() == 2);
        let silent = Told::default();
        assert_eq!(facts(&silent), TlsFacts { verify_result: Some(0), ..TlsFacts::default() });
    }

    proptest::proptest! {
        #[test]
        fn what_is_changed_is_still_one_request_with_its_body(
            start in "(GET|POST|PUT) (/[a-z/?]{0,9}|http://h/a)",
            fields in proptest::collection::vec("(Cookie|x|Te|Connection|A|Host|Transfer-Encoding): [a-z, =;]{0,9}\r\n", 0..9),
        ) {
            let head = format!("{start} HTTP/1.1\r\nHost: a\r\n{}\r\n", fields.concat());
            if let Some(out) = changed(&snapshot(CHANGING), head.as_bytes()) {
                proptest::prop_assert_eq!(head_end(&out, 0), Some(out.len()));
                let mut table = Vec::with_capacity(FIELDS_MAX);
                let before = request::parse(head.as_bytes(), &mut table).expect("it was read once");
                let after = request::parse(&out, &mut table).expect("what is forwarded is a request");
                proptest::prop_assert_eq!(after.body, before.body);
            }
        }
    }
}
