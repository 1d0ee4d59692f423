//! nginx as a member: a real server with its own ideas.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::place::Place;
use crate::process::Process;

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    /// Where it listens.
    pub socket: SocketAddr,
    /// Its one process.
    pub process: Process,
    log: Option<PathBuf>,
}

impl Nginx {
    /// Starts one that answers `/` with `name` and takes any method.
    pub fn start(place: &Place, name: &str, socket: SocketAddr) -> Self {
        Self::serve(place, name, socket, "", "")
    }

    /// One that takes no connection without a PROXY header, and answers with what the header says: `name`, both
    /// addresses, both ports.
    pub fn start_proxied(place: &Place, name: &str, socket: SocketAddr) -> Self {
        let told = ["addr", "server_addr", "port", "server_port"].map(|word| format!(" $proxy_protocol_{word}"));
        Self::serve(place, name, socket, "proxy_protocol", &told.concat())
    }

    /// The same over TLS, with this certificate and key.
    pub fn start_tls(place: &Place, name: &str, socket: SocketAddr, certificate: &str, key: &str) -> Self {
        let words = format!("ssl; ssl_certificate {certificate}; ssl_certificate_key {key}");
        Self::serve(place, name, socket, &words, "")
    }

    /// The same for who begins in HTTP/2 without asking; it says what it was asked in.
    pub fn start_http2(place: &Place, name: &str, socket: SocketAddr) -> Self {
        Self::serve(place, name, socket, "http2", " $server_protocol $request_method $request_uri")
    }

    /// The same over TLS, with this certificate and key.
    pub fn start_tls_http2(place: &Place, name: &str, socket: SocketAddr, certificate: &str, key: &str) -> Self {
        let words = format!("ssl http2; ssl_certificate {certificate}; ssl_certificate_key {key}");
        Self::serve(place, name, socket, &words, " $server_protocol $request_method $request_uri")
    }

    /// The same, whose clients must show a certificate that `authority` signed. It answers with who the client was, which
    /// name it asked for, and `r` if it came back with an earlier session.
    pub fn start_mutual(place: &Place, name: &str, socket: SocketAddr, bundle: &str, authority: &str) -> Self {
        let words = format!(
            "ssl; ssl_certificate {bundle}; ssl_certificate_key {bundle}; ssl_client_certificate {authority}; ssl_verify_client on"
        );
        Self::serve(place, name, socket, &words, " $ssl_client_s_dn $ssl_server_name $ssl_session_reused")
    }

    /// One that passes everything on to `member`, over connections it keeps.
    pub fn start_before(place: &Place, name: &str, socket: SocketAddr, member: SocketAddr) -> Self {
        let pass = format!("proxy_pass http://{member}; proxy_http_version 1.1; proxy_set_header Connection \"\"");
        Self::serve_with(place, name, socket, "", &pass)
    }

    /// One that serves the files of `folder`, which [`Nginx::requests`] counts.
    pub fn start_folder(place: &Place, name: &str, socket: SocketAddr, folder: &Path) -> Self {
        let log = place.path(name).join("access.log");
        let types = "types { text/html html; text/css css; text/javascript js; image/svg+xml svg; }";
        let does = format!("{types} access_log {}; root {}", log.display(), folder.display());
        Self { log: Some(log), ..Self::serve_with(place, name, socket, "", &does) }
    }

    /// Requests for files of its folder so far.
    pub fn requests(&self) -> usize {
        let log = self.log.as_ref().and_then(|log| std::fs::read_to_string(log).ok());
        log.map_or(0, |text| text.lines().count())
    }

    /// `words` stand behind the address it listens on, `told` behind its name in every answer.
    fn serve(place: &Place, name: &str, socket: SocketAddr, words: &str, told: &str) -> Self {
        Self::serve_with(place, name, socket, words, &format!("return 200 \"{name}{told}\\n\""))
    }

    /// `does` is what becomes of every request.
    fn serve_with(place: &Place, name: &str, socket: SocketAddr, words: &str, does: &str) -> Self {
        let folder = place.path(name);
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.display();
        let config = format!(
            "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n  access_log off; keepalive_requests 1000000; client_body_temp_path {path}/body;\n\
             \x20 proxy_temp_path {path}/p; fastcgi_temp_path {path}/f; uwsgi_temp_path {path}/u; scgi_temp_path {path}/s;\n\
             \x20 server {{ listen {socket} backlog=4096 {words}; location / {{ {does}; }} }}\n}}\n"
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-c").arg(&file).arg("-p").arg(&folder).arg("-e").arg(folder.join("start.log"));
        let mut process = Process::start(name, command, folder.join("output"));
        process.wait_port(socket);
        Self { socket, process, log: None }
    }
}
