//! curl, nghttp and h2load: clients others wrote.

use std::process::Command;

use weir_tests::stage::Stage;
use weir_tests::tools::{output, run};

use super::{knowing, stage};

fn curl(stage: &Stage, path: &str, words: &[&str]) -> String {
    let url = format!("http://{}{path}", stage.vip());
    run(Command::new("curl").args(["-sS", "--max-time", "30", "--http2-prior-knowledge"]).args(words).arg(url))
}

#[test]
fn curl_asks_in_http2() {
    let stage = stage();
    assert!(curl(&stage, "/x", &["-w", " %{http_version} %{http_code}"]).ends_with(" 2 200"));
    assert_eq!(curl(&stage, "/bytes/3000000", &["-w", "%{size_download}", "-o", "/dev/null"]), "3000000");
    assert_eq!(curl(&stage, "/bytes/7", &["-I", "-o", "/dev/null", "-w", "%{http_code}"]), "200");
    for status in ["204", "304", "404", "503"] {
        let path = format!("/status/{status}");
        assert_eq!(curl(&stage, &path, &["-o", "/dev/null", "-w", "%{http_code}"]), status);
    }
    let body = stage.place.write("body", weir_tests::message::pattern(2_000_000));
    let body = format!("@{}", body.display());
    for more in [&[][..], &["-H", "content-length:", "-H", "transfer-encoding: chunked"]] {
        let words = [&["--data-binary", &body, "-w", "%{size_download}", "-o", "/dev/null"], more].concat();
        assert_eq!(curl(&stage, "/body", &words), "2000000");
    }
    assert!(curl(&stage, "/x", &["-H", "expect: 100-continue", "-d", "abc"]).contains("\"body_bytes\":3"));
    let log = stage.weir.wait_log(10);
    assert!(log.iter().all(|line| line.ends_with(" HTTP/2.0\"")), "{log:#?}");
}

#[test]
fn nghttp_sees_trailers() {
    let stage = stage();
    let url = format!("http://{}/trailers", stage.vip());
    let said = run(Command::new("nghttp").args(["-v", "--no-dep", &url]));
    assert!(said.contains("x-sum: 42") && said.contains("hello"), "{said}");
}

#[test]
fn h2load_is_served_whole() {
    let stage = Stage::http(3, |setup| {
        knowing(setup);
        setup.workers = 2;
    });
    for (streams, path, count) in [("1", "/x", "500"), ("100", "/x", "3000"), ("32", "/bytes/100000", "200")] {
        let url = format!("http://{}{path}", stage.vip());
        let said = output(Command::new("h2load").args(["-n", count, "-c", "4", "-m", streams, &url]));
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(said.contains(&format!("{count} succeeded, 0 failed, 0 errored, 0 timeout")), "{said}");
    }
}
