//! A browser: Chromium over HTTP/2, kept by a cookie to one member of three, a WebSocket held while documents come.
//!
//! Chromium is a heavy package that `./check` does not install: where `WEIR_CHROMIUM` does not name it, this says so and
//! proves nothing. The pages drive themselves and report what they saw to a member of the test's own.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::certificates::Authority;
use weir_tests::member::{Conn, Member, sized};
use weir_tests::message::End;
use weir_tests::nginx::Nginx;
use weir_tests::place::Place;
use weir_tests::process::Process;
use weir_tests::setup::{Mode, Setup};
use weir_tests::tools::run;
use weir_tests::wait::{until, until_true};
use weir_tests::weir::Weir;

use super::{HOST, file, terminate};

/// A browser takes its time to start where others work too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pages, one after the other, each with so many resources.
const PAGES: usize = 3;
const RESOURCES: usize = 100;
const APPLIES: u16 = 100;

/// What a page does once all of it is there.
const SCRIPT: &str = r#"
const report = (what) => fetch('/hand/report', {method: 'POST', body: JSON.stringify(what)});
const page = Number(document.title);
let messages = 0, fetched = 0, failed = 0;
function hold() {
    const socket = new WebSocket(`wss://${location.host}/hand/ws`);
    socket.onopen = () => socket.send('0');
    socket.onclose = (event) => report({closed: event.code, clean: event.wasClean, messages, fetched, failed});
    socket.onmessage = async (event) => {
        if (event.data !== String(messages)) failed += 1;
        messages += 1;
        if (messages % 5 === 0) {
            try {
                const answer = await fetch(`/r/0.css?message=${messages}`, {cache: 'no-store'});
                await answer.text();
                if (answer.status === 200) fetched += 1; else failed += 1;
            } catch { failed += 1; }
        }
        setTimeout(() => socket.readyState === 1 && socket.send(String(messages)), 5);
    };
}
addEventListener('load', async () => {
    const all = performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/r/'));
    const whole = all.filter((entry) => entry.responseStatus === 200 && entry.transferSize > 0).length;
    const h2 = all.filter((entry) => entry.nextHopProtocol === 'h2').length;
    const images = [...document.images].filter((image) => image.naturalWidth === 7).length;
    const styles = [...document.styleSheets].filter((sheet) => sheet.cssRules.length === 1).length;
    await report({page, whole, h2, images, styles, scripts: window.ran});
    if (page < PAGES) location = `/${page + 1}.html`; else hold();
});
"#;

/// Writes the pages and what they are made of: a third each of style sheets, scripts and images, of 100 bytes to 200 KB.
fn pages(folder: &Path) {
    std::fs::create_dir_all(folder.join("r")).unwrap();
    let name = |n: usize| format!("r/{n}.{}", ["css", "js", "svg"][n % 3]);
    for n in 0..RESOURCES {
        let padding = " ".repeat(100 + n * 7919 % 200_000);
        let text = match n % 3 {
            0 => format!(".c{n} {{ color: red }}{padding}"),
            1 => format!("window.ran = (window.ran || 0) + 1;{padding}"),
            _ => format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"7\" height=\"7\">{padding}</svg>"),
        };
        std::fs::write(folder.join(name(n)), text).unwrap();
    }
    std::fs::write(folder.join("page.js"), SCRIPT.replace("PAGES", &PAGES.to_string())).unwrap();
    for page in 1..=PAGES {
        let mut text = format!("<!doctype html><html><head><title>{page}</title>");
        for n in 0..RESOURCES {
            // A page of its own for each, so that nothing comes out of the browser's cache.
            let path = format!("/{}?page={page}", name(n));
            text += &match n % 3 {
                0 => format!("<link rel=\"stylesheet\" href=\"{path}\">"),
                1 => format!("<script src=\"{path}\"></script>"),
                _ => String::new(),
            };
        }
        text += "<script src=\"/page.js\"></script></head><body>";
        for n in (0..RESOURCES).filter(|n| n % 3 == 2) {
            text += &format!("<img src=\"/{}?page={page}\">", name(n));
        }
        std::fs::write(folder.join(format!("{page}.html")), text + "</body></html>").unwrap();
    }
}

/// Serves reports, and a WebSocket that says everything back until it is to say goodbye.
fn hand(conn: &mut Conn, said: &AtomicUsize, goodbye: &AtomicBool) -> Result<(), End> {
    loop {
        let (head, _) = conn.request()?;
        if head.get("upgrade").is_none() {
            conn.send(sized(200, "", b"", false))?;
            continue;
        }
        conn.send(weir_tests::websocket::switching(&head))?;
        loop {
            // Frames of a browser: short ones, masked (RFC 6455 section 5.2).
            let start = conn.take(2)?;
            let mask = conn.take(4)?;
            let masked = conn.take(usize::from(start[1] & 0x7f))?;
            let text: Vec<u8> = masked.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            let text_len = u8::try_from(text.len()).unwrap();
            match start[0] & 0xf {
                1 if goodbye.load(Ordering::Relaxed) => conn.send([0x88, 2, 0x03, 0xe8])?,
                1 => {
                    conn.send([&[0x81, text_len][..], &text].concat())?;
                    said.fetch_add(1, Ordering::Relaxed);
                }
                8 => return Ok(()),
                _ => {}
            }
        }
    }
}

/// Reports of pages so far.
fn reports(hand: &Member) -> Vec<Value> {
    let posts = hand.seen().into_iter().filter(|request| request.head.start.starts_with("POST"));
    posts.filter_map(|post| serde_json::from_slice(&post.body.data).ok()).collect()
}

/// Starts Chromium at the first page. It trusts whoever has the key of the certificate in the file `own`: a key of an authority
/// that is not sent along says nothing to it.
fn browse(chromium: &Path, place: &Place, setup: &Setup, own: &Path) -> Process {
    let digest = format!(
        "openssl x509 -in {} -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | openssl base64",
        own.display()
    );
    let key = run(Command::new("sh").args(["-c", &digest]));
    let profile = place.path("profile");
    let mut command = Command::new(chromium);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--no-proxy-server"]);
    command.env("HOME", place.path("")).env("XDG_CONFIG_HOME", place.path("config"));
    command.arg(format!("--user-data-dir={}", profile.display()));
    command.arg(format!("--ignore-certificate-errors-spki-list={}", key.trim()));
    command.arg(format!("--host-resolver-rules=MAP {HOST} {}", setup.vip.ip()));
    command.arg(format!("https://{HOST}:{}/1.html", setup.vip.port()));
    Process::start("chromium", command, place.path("chromium"))
}

#[test]
fn chromium_loads_pages_keeps_its_member_and_holds_a_websocket_through_documents() {
    let Some(chromium) = std::env::var_os("WEIR_CHROMIUM") else {
        eprintln!("skipped: WEIR_CHROMIUM does not say where Chromium is");
        return;
    };
    let (place, authority) = (Place::new(), Authority::new("authority"));
    let root = place.path("root");
    pages(&root);
    let members: Vec<Nginx> =
        ["m1", "m2", "m3"].map(|name| Nginx::start_folder(&place, name, place.socket(), &root)).into();
    let (said, goodbye) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let of_hand = (Arc::clone(&said), Arc::clone(&goodbye));
    let hand = Member::script("hand", place.socket(), move |conn| self::hand(conn, &of_hand.0, &of_hand.1));

    let names = ["m1", "m2", "m3"].into_iter().zip(&members);
    let mut setup = Setup::new(Mode::Http, place.socket(), names.map(|(name, nginx)| (name, nginx.socket))).workers(2);
    setup = setup.pool_keys(json!({"session_persistence": {"type": "HTTP_COOKIE"}}));
    setup.log_format = Some("json");
    let own = authority.sign(&[HOST]).write(&place, "own.pem");
    let to_hand = json!({
        "action": "REDIRECT_TO_POOL",
        "redirect_pool": {"name": "hand", "protocol": "HTTP", "lb_algorithm": "ROUND_ROBIN", "members": [
            {"name": "hand", "address": hand.socket().ip(), "protocol_port": hand.socket().port()}]},
        "rules": [{"type": "PATH", "compare_type": "STARTS_WITH", "value": "/hand/"}],
    });
    terminate(&mut setup, json!({"default_tls_container_ref": file(&own), "l7policies": [to_hand]}));
    let weir = Weir::start(&place, &setup);
    let _browser = browse(Path::new(&chromium), &place, &setup, &own);

    // All of each page, over HTTP/2.
    until(PATIENCE, "the pages", || (reports(&hand).len() >= PAGES).then_some(()));
    let third = |rest: usize| (0..RESOURCES).filter(|n| n % 3 == rest).count();
    for (report, page) in reports(&hand).iter().zip(1..) {
        let whole = json!({"page": page, "whole": RESOURCES, "h2": RESOURCES, "styles": third(0), "scripts": third(1),
                           "images": third(2)});
        assert_eq!(report, &whole);
    }
    // Documents, each in force before the next, and words on the WebSocket between them.
    until_true(PATIENCE, "the WebSocket", || said.load(Ordering::Relaxed) > 0);
    for weight in 1..=APPLIES {
        let before = said.load(Ordering::Relaxed);
        setup.members[usize::from(weight % 3)].weight = weight;
        weir.control.apply(&setup.document(&place.path("access.log")));
        until_true(PATIENCE, "a word on the WebSocket", || said.load(Ordering::Relaxed) > before);
    }
    goodbye.store(true, Ordering::Relaxed);
    let last = until(PATIENCE, "the WebSocket's end", || reports(&hand).get(PAGES).cloned());
    assert_eq!((&last["closed"], &last["clean"], &last["failed"]), (&json!(1000), &json!(true), &json!(0)), "{last}");
    assert!(
        last["messages"].as_u64().unwrap() >= u64::from(APPLIES) && last["fetched"].as_u64().unwrap() > 0,
        "{last}"
    );
    let sockets = hand.seen().iter().filter(|request| request.head.get("upgrade").is_some()).count();
    assert_eq!(sockets, 1, "it was the same one all the time");

    // One member served all of it, and nothing failed on the way.
    let served: Vec<usize> = members.iter().map(Nginx::requests).collect();
    assert_eq!(served.iter().filter(|count| **count > 0).count(), 1, "{served:?}");
    assert!(served.iter().sum::<usize>() > PAGES * RESOURCES, "{served:?}");
    let listener = weir.control.listener();
    // Chromium leaves the first handshake to find out that it may trust this key.
    assert!(listener.tls_failures <= 1, "{} handshakes failed", listener.tls_failures);
    assert_eq!((listener.request_errors - listener.tls_failures, listener.refusals), (0, 0));
    assert_eq!(listener.responses[4], 0, "no answer of the 500s");
}
