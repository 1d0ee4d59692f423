//! Health monitors crossing the border, and what stands beside them in a pool.

use super::monitor_fields::Section;
use super::pool::Parent;
use super::unique::Identity;
use super::{Border, NodeId, line, lines, text, types};
use crate::config::PoolProtocol;
use crate::config::monitor::{
    AgentCheck, ExpectedCodes, HealthMonitor, HttpProbe, HttpVersion, MysqlProbe, Observation, ObservedLayer,
    OnMarkedDown, Probe, ProxyVersion, TlsProbe,
};
use crate::id::MonitorId;

impl Border<'_> {
    /// `None` if one of them lacks what it needs, which is reported.
    pub(super) fn monitors(&mut self, pool: &mut types::Pool, parent: Parent) -> Option<Vec<HealthMonitor>> {
        let one = pool.healthmonitor.take();
        let several = pool.healthmonitors.take().unwrap_or_default();
        if one.is_some() && !several.is_empty() {
            let spot = self.tree.spot_of_key(pool.at, "healthmonitor");
            self.mistake(spot, "both `healthmonitor` and `healthmonitors` are given", "keep one".to_owned());
        }
        self.unique.monitor_names = Default::default();
        let written: Vec<types::HealthMonitor> = one.into_iter().chain(several).collect();
        let count = written.len();
        let read: Vec<HealthMonitor> = written
            .into_iter()
            .enumerate()
            .filter_map(|(place, monitor)| self.monitor(monitor, place, parent))
            .collect();
        (read.len() == count).then_some(read)
    }

    fn monitor(&mut self, mut monitor: types::HealthMonitor, place: usize, parent: Parent) -> Option<HealthMonitor> {
        let at = monitor.at;
        let name = line(monitor.name.take());
        let key = if name.is_empty() { place.to_string() } else { name.clone() };
        let doubled = parent.doubled | self.doubled_name("health monitor", at, &name, |b| &mut b.unique.monitor_names);
        let explicit = monitor.id.is_some();
        let id = monitor.id.unwrap_or_else(|| MonitorId::derived(parent.id.0, &key));
        let identity = Identity { kind: "health monitor", at, id: id.0, explicit, doubled };
        self.doubled_id(&identity, |b| &mut b.unique.monitor_ids);

        if let Some(kind) = monitor.kind {
            self.only_fields_of(kind, at);
        }
        self.not_longer(at, "timeout", monitor.timeout.map(|s| s.ms), monitor.delay.map(|s| s.ms));
        self.not_longer(at, "delay_fast", monitor.delay_fast.map(|s| s.ms), monitor.delay.map(|s| s.ms));
        let http = self.http_probe(&mut monitor);
        let tls = self.tls_probe(&mut monitor);
        let mysql = MysqlProbe { user: monitor.mysql_user.take().map(|user| user.0) };
        let probe = match monitor.kind? {
            types::MonitorType::Ping => Probe::Ping,
            types::MonitorType::Tcp => Probe::Tcp,
            types::MonitorType::Http => Probe::Http(http),
            types::MonitorType::Https => Probe::Https(http, tls),
            types::MonitorType::TlsHello => Probe::TlsHello(tls),
            types::MonitorType::Mysql => Probe::Mysql(mysql),
        };
        let delay_ms = monitor.delay?.ms;
        Some(HealthMonitor {
            id,
            name,
            admin_state_up: monitor.admin_state_up.unwrap_or(true),
            probe,
            delay_ms,
            delay_fast_ms: monitor.delay_fast.map_or(delay_ms, |fast| fast.ms),
            delay_down_ms: monitor.delay_down.map_or(delay_ms, |down| down.ms),
            timeout_ms: monitor.timeout?.ms,
            max_retries: monitor.max_retries?,
            max_retries_down: monitor.max_retries_down.unwrap_or(MAX_RETRIES_DOWN),
            send_proxy: monitor.send_proxy.map(proxy_version),
            tags: lines(monitor.tags),
        })
    }

    /// Reports a key whose length of time is longer than that of `delay`.
    fn not_longer(&mut self, at: NodeId, key: &str, written_ms: Option<u64>, delay_ms: Option<u64>) {
        let (Some(written_ms), Some(delay_ms)) = (written_ms, delay_ms) else { return };
        if written_ms > delay_ms {
            let seconds = |ms: u64| ms as f64 / 1000.0;
            let message = format!("a `{key}` of {} s is longer than the `delay`", seconds(written_ms));
            let help = format!("at most {}, or a longer `delay`", seconds(delay_ms));
            self.mistake(self.tree.spot_of(at, key), message, help);
        }
    }

    /// Reports keys that do nothing for a monitor of this type.
    fn only_fields_of(&mut self, kind: types::MonitorType, at: NodeId) {
        let entries = self.tree.entries(at);
        let idle =
            entries.iter().filter(|entry| !self.tree.is_null(entry.value) && !self.tree.is_rejected(entry.value));
        let idle: Vec<(String, Section)> = idle
            .filter_map(|entry| Some((entry.key.clone(), Section::of(&entry.key)?)))
            .filter(|(_, section)| !section.fits(kind))
            .collect();
        for (key, section) in idle {
            let message = format!("`{key}` is only for {} monitors, and this one is {}", section.words(), kind.word());
            self.mistake(self.tree.spot_of_key(at, &key), message, "leave it out".to_owned());
        }
    }

    fn http_probe(&mut self, monitor: &mut types::HealthMonitor) -> HttpProbe {
        let at = monitor.at;
        let version = match monitor.http_version {
            Some(types::HttpVersion::V1_1) => HttpVersion::V1_1,
            Some(types::HttpVersion::V1_0) | None => HttpVersion::V1_0,
        };
        let domain_name = monitor.domain_name.take().map(|name| name.0);
        if let Some(name) = &domain_name {
            self.host_name(at, "domain_name", name);
            let version_lost = self.tree.is_lost(at, "http_version");
            if version == HttpVersion::V1_0 && !version_lost && monitor.kind.is_none_or(|k| Section::Http.fits(k)) {
                let message = "`domain_name` needs `http_version: 1.1`: HTTP/1.0 requests name no host";
                let spot = self.tree.spot_of_key(at, "domain_name");
                self.mistake(spot, message, "add `http_version: 1.1`".to_owned());
            }
        }
        HttpProbe {
            method: monitor.http_method.map_or("GET", types::HttpMethod::word).to_owned(),
            url_path: self.url_path(at, monitor.url_path.take()),
            version,
            domain_name,
            expected_codes: match monitor.expected_codes.take() {
                None => ExpectedCodes(vec![(200, 200)]),
                Some(types::Codes::One(code)) => ExpectedCodes(vec![(code, code)]),
                Some(types::Codes::Several(written)) => self.expected_codes(at, &written.0),
            },
            headers: self.headers(monitor.headers.as_ref()),
            expected_body: self.expected_body(at, monitor.expected_body.take(), monitor.expected_body_regex.take()),
        }
    }

    fn tls_probe(&mut self, monitor: &mut types::HealthMonitor) -> TlsProbe {
        let at = monitor.at;
        let verify = monitor.tls_verify.unwrap_or(false);
        let ca_file = self.file(at, "ca_tls_container_ref", monitor.ca_tls_container_ref.as_ref());
        if ca_file.is_some() && !verify && !self.tree.is_lost(at, "tls_verify") {
            let message = "`ca_tls_container_ref` does nothing unless certificates are verified";
            let spot = self.tree.spot_of_key(at, "ca_tls_container_ref");
            self.mistake(spot, message, "add `tls_verify: true`".to_owned());
        }
        let sni = monitor.sni.take().map(|name| name.0);
        if let Some(name) = &sni {
            self.server_name(at, "sni", name);
        }
        TlsProbe { verify, ca_file, sni }
    }

    pub(super) fn observation(
        &mut self,
        at: NodeId,
        written: Option<types::Observe>,
        has_monitors: bool,
        protocol: Option<PoolProtocol>,
    ) -> Option<Observation> {
        let written = written?;
        if !has_monitors {
            let message = "`observe` needs a health monitor: nothing else brings a member back";
            self.mistake(self.tree.spot_of_key(at, "observe"), message, "add a `healthmonitor`".to_owned());
        }
        let layer = match written.layer? {
            types::ObservedLayer::Connection => ObservedLayer::Connection,
            types::ObservedLayer::Http => ObservedLayer::Http,
        };
        if let (ObservedLayer::Http, Some(protocol @ (PoolProtocol::Tcp | PoolProtocol::Https))) = (layer, protocol) {
            let message = format!("answers of a pool of protocol {protocol} are not read");
            self.mistake(self.tree.spot_of(written.at, "layer"), message, "use `CONNECTION`".to_owned());
        }
        Some(Observation { layer, failures: written.failures.unwrap_or(OBSERVED_FAILURES) })
    }

    pub(super) fn agent_check(&mut self, written: Option<types::AgentCheck>) -> Option<AgentCheck> {
        let written = written?;
        let delay_ms = written.delay.map_or(AGENT_DELAY_MS, |delay| delay.ms);
        let timeout_ms = written.timeout.map_or(delay_ms, |timeout| timeout.ms);
        let delay_known = !self.tree.is_lost(written.at, "delay");
        self.not_longer(written.at, "timeout", Some(timeout_ms), delay_known.then_some(delay_ms));
        Some(AgentCheck { port: written.port?, delay_ms, timeout_ms, send: text(written.send) })
    }
}

pub(super) fn on_marked_down(written: Option<types::OnMarkedDown>) -> OnMarkedDown {
    match written {
        Some(types::OnMarkedDown::ShutdownSessions) => OnMarkedDown::ShutdownSessions,
        Some(types::OnMarkedDown::KeepSessions) | None => OnMarkedDown::KeepSessions,
    }
}

fn proxy_version(written: types::ProxyVersion) -> ProxyVersion {
    match written {
        types::ProxyVersion::Proxy => ProxyVersion::V1,
        types::ProxyVersion::ProxyV2 => ProxyVersion::V2,
    }
}

/// Octavia's.
const MAX_RETRIES_DOWN: u8 = 3;
/// HAProxy's `error-limit`.
const OBSERVED_FAILURES: u32 = 10;
/// HAProxy's `agent-inter`.
const AGENT_DELAY_MS: u64 = 2000;
