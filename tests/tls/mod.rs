//! Promise: TLS ends here as it should, members are spoken to over it as the document says, and nobody gets past it.
//!
//! | file | what it proves |
//! |---|---|
//! | [`names`] | which certificate a client is shown |
//! | [`spoken`] | versions, suites and protocols that are spoken, and those that are not |
//! | [`hostile`] | bytes that are no handshake, or a bad one; clients that stall |
//! | [`clients`] | clients' certificates, and what members are told of them, beside HAProxy |
//! | [`sessions`] | sessions that are resumed, and those that must not be |
//! | [`streams`] | what flows once hands are shaken: long bodies, silence, ends |
//! | [`members`] | TLS to members: whom they must be, what they are shown, who shares a connection |
//! | [`browser`] | what Chromium sees, where it is installed |
//! | [`renewal`] | certificates replaced while they are served, and told of before they end |

mod browser;
mod clients;
mod hostile;
mod members;
mod names;
mod renewal;
mod sessions;
mod spoken;
mod streams;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use weir_tests::certificates::Authority;
use weir_tests::member::Member;
use weir_tests::place::Place;
use weir_tests::setup::{Mode, Setup};
use weir_tests::tls::Trusting;
use weir_tests::wait::{PATIENCE, until};
use weir_tests::weir::Weir;

/// The host that everything is about.
const HOST: &str = "weir.test";

/// A member behind a Weir that ends TLS.
struct Play {
    weir: Weir,
    setup: Setup,
    member: Member,
    authority: Authority,
    place: Place,
}

impl Play {
    /// With a certificate for [`HOST`]; `tune` may change the setup before the start.
    fn new(tune: impl FnOnce(&mut Setup, &Place, &Authority)) -> Self {
        let (place, authority) = (Place::new(), Authority::new("authority"));
        let member = Member::http("m1", place.socket());
        let mut setup = Setup::new(Mode::Http, place.socket(), [("m1", member.socket())]);
        setup.log_format = Some("json");
        let own = authority.sign(&[HOST]).write(&place, "own.pem");
        terminate(&mut setup, json!({"default_tls_container_ref": file(&own)}));
        tune(&mut setup, &place, &authority);
        let weir = Weir::start(&place, &setup);
        Self { weir, setup, member, authority, place }
    }

    fn vip(&self) -> SocketAddr {
        self.setup.vip
    }

    /// Clients without a certificate.
    fn clients(&self) -> Trusting {
        Trusting::new(&self.authority, None)
    }

    /// Waits for a log line with this reason.
    fn wait_reason(&self, reason: &str) {
        until(PATIENCE, &format!("a log line that says {reason:?}; there are {:?}", reasons(&self.weir)), || {
            reasons(&self.weir).iter().any(|found| found == reason).then_some(())
        });
    }
}

/// Reasons in the log so far.
fn reasons(weir: &Weir) -> Vec<String> {
    let lines = weir.log();
    let line = |line: &String| serde_json::from_str::<Value>(line).ok()?["reason"].as_str().map(str::to_owned);
    lines.iter().filter_map(line).collect()
}

/// Adds keys to the listener of `setup`, which ends TLS.
#[allow(clippy::needless_pass_by_value, reason = "what is written at the call is a value")]
fn terminate(setup: &mut Setup, keys: Value) {
    setup.listener["protocol"] = json!("TERMINATED_HTTPS");
    for (key, value) in keys.as_object().into_iter().flatten() {
        setup.listener[key] = value.clone();
    }
}

/// A reference to a file.
fn file(path: &Path) -> String {
    format!("file:{}", path.display())
}

/// `openssl s_client` with these words and nothing to say: what it wrote, and whether hands were shaken.
fn s_client(to: SocketAddr, words: &[&str]) -> (bool, String) {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &to.to_string(), "-servername", HOST]).args(words).stdin(Stdio::null());
    let output = weir_tests::tools::output(&mut command);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    // With TLS 1.2 it may fail and still end well.
    (output.status.success() && !text.contains("Cipher is (NONE)"), text)
}

/// `curl`, told that [`HOST`] is there: what it wrote.
fn curl(place: &Place, to: SocketAddr, authority: &Authority, words: &[&str]) -> String {
    let ca = authority.write(place, "curl-ca.pem");
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--resolve", &format!("{HOST}:{}:{}", to.port(), to.ip())]);
    command.arg("--cacert").arg(ca).args(words).arg(format!("https://{HOST}:{}/echo", to.port()));
    weir_tests::tools::run(&mut command)
}
