//! Rounds: everyone plays the same, one after the other, in an order that turns around each time, so that a machine that
//! gets slower or faster meanwhile does so for all.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::contender::{self, Contender, Kind, Setting};
use crate::cores::{Clock, Layout, load_average, pinned};
use crate::process::Process;
use crate::record::{Cost, Effort, PeakRound, Played, RateRound, Record};
use crate::scenario::Scenario;
use crate::sink::Sink;
use crate::usage::{Memory, Usage};
use crate::{fixed_rate, idle, pause, peak, tls};

/// Share of HAProxy's peak at which latency is measured.
const RATE_SHARE: f64 = 0.7;
/// Until a proxy has written its last lines and let go of what it need not hold.
const SETTLE: Duration = Duration::from_millis(100);
/// The same, before memory is read.
const REST: Duration = Duration::from_secs(3);
const FIRST_PORT: u16 = 8001;

struct Running {
    process: Process,
    pids: Vec<u32>,
}

/// A scenario being played.
struct Stage<'s> {
    scenario: &'s Scenario,
    contenders: &'s [Contender],
    layout: &'s Layout,
    folder: PathBuf,
    _member: Process,
    sinks: Vec<Sink>,
    running: Vec<Option<Running>>,
    played: Vec<Played>,
}

/// Plays a scenario. What goes wrong is in the record.
pub fn play(
    scenario: &Scenario,
    contenders: &[Contender],
    layout: &Layout,
    effort: &Effort,
    folder: &Path,
    say: &mut dyn FnMut(&str),
) -> Record {
    let before = load_average();
    let named = |contender: &Contender| Played { name: contender.name.clone(), ..Played::default() };
    let mut record = Record {
        scenario: scenario.clone(),
        played: contenders.iter().map(named).collect(),
        rate: 0.0,
        apart: layout.load.iter().all(|core| !layout.proxy.contains(core)),
        load_average: [before, String::new()],
        error: None,
    };
    let result = Stage::new(scenario, contenders, layout, folder, record.played.clone()).and_then(|mut stage| {
        let result = stage.rounds(effort, &mut record.rate, say);
        record.played = std::mem::take(&mut stage.played);
        result
    });
    record.error = result.err().map(|error| format!("{error:#}"));
    record.load_average[1] = load_average();
    record
}

impl<'s> Stage<'s> {
    fn new(
        scenario: &'s Scenario,
        contenders: &'s [Contender],
        layout: &'s Layout,
        folder: &Path,
        played: Vec<Played>,
    ) -> anyhow::Result<Self> {
        let folder = folder.join(&scenario.name);
        std::fs::create_dir_all(&folder)?;
        if let Some(tls) = scenario.tls {
            tls::make_certificate(&folder, tls.key)?;
        }
        let me = std::env::current_exe()?;
        let count = scenario.members.to_string();
        let mut member_process = Process::start("member", &me, &["member", "--count", &count], &folder)?;
        member_process.wait_port(contender::member(scenario.members - 1))?;
        let sinks = contenders.iter().map(|c| Sink::start(&folder, &c.name)).collect::<anyhow::Result<Vec<_>>>()?;
        let running = contenders.iter().map(|_| None).collect();
        Ok(Self { scenario, contenders, layout, folder, _member: member_process, sinks, running, played })
    }

    fn rounds(&mut self, effort: &Effort, rate: &mut f64, say: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        let time = Duration::from_secs(effort.seconds);
        for n in 0..self.contenders.len() {
            let contender = &self.contenders[n];
            if self.scenario.tls.is_some() && contender.kind == Kind::Direct {
                self.played[n].absent = Some("members do not speak TLS".to_owned());
            }
            self.visit(n).with_context(|| format!("{} does not play", contender.name))?;
            if self.here(n) {
                self.ask(n, Duration::from_secs(1)).with_context(|| format!("{} warming up", contender.name))?;
            }
        }
        for round in 0..effort.rounds {
            for n in self.order(round) {
                let name = &self.contenders[n].name;
                say(&format!("  peak {}/{}: {name}", round + 1, effort.rounds));
                let done = self.peak_round(n, time).with_context(|| format!("{name}, peak round {}", round + 1))?;
                self.played[n].peak.push(done);
            }
        }
        if self.scenario.tls.is_some() {
            // The generator that keeps a rate speaks no TLS.
            return Ok(());
        }
        *rate = self.base_rate() * RATE_SHARE;
        for round in 0..effort.rounds {
            for n in self.order(round) {
                let name = &self.contenders[n].name;
                say(&format!("  {rate:.0}/s {}/{}: {name}", round + 1, effort.rounds));
                let done = self
                    .rate_round(n, *rate, time)
                    .with_context(|| format!("{name}, fixed rate round {}", round + 1))?;
                self.played[n].rate.push(done);
            }
        }
        for n in (0..self.contenders.len()).filter(|_| effort.syscalls) {
            if self.here(n) && self.contenders[n].kind != Kind::Direct {
                self.played[n].syscalls = self.count_syscalls(n).ok();
            }
        }
        Ok(())
    }

    /// There and back again.
    fn order(&self, round: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.contenders.len()).filter(|n| self.here(*n)).collect();
        if round % 2 == 1 {
            all.reverse();
        }
        all
    }

    fn here(&self, n: usize) -> bool {
        self.played[n].absent.is_none()
    }

    fn address(&self, n: usize) -> SocketAddr {
        match self.contenders[n].kind {
            Kind::Direct => contender::member(0),
            _ => SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST_PORT + n as u16)),
        }
    }

    fn pids(&self, n: usize) -> &[u32] {
        self.running[n].as_ref().map_or(&[], |running| running.pids.as_slice())
    }

    /// Has the nth proxy running, a new one where memory is the question. Returns its idle connections.
    fn visit(&mut self, n: usize) -> anyhow::Result<Vec<TcpStream>> {
        let idle = self.scenario.idle;
        if !self.here(n) {
            return Ok(Vec::new());
        }
        if idle > 0 {
            // They would keep what earlier connections made them take.
            self.running.iter_mut().for_each(|running| *running = None);
        }
        if self.running[n].is_none() && self.contenders[n].kind != Kind::Direct {
            self.start(n)?;
        }
        if idle == 0 {
            return Ok(Vec::new());
        }
        self.ask(n, Duration::from_secs(1)).context("before idle connections")?;
        pause(REST);
        let before = Memory::read(self.pids(n))?;
        let kept = idle::open(self.address(n), &self.scenario.request, idle)?;
        pause(REST);
        let after = Memory::read(self.pids(n))?;
        if !self.pids(n).is_empty() {
            let more = after.anonymous.saturating_sub(before.anonymous) as f64;
            self.played[n].idle_bytes.push(more * 1024.0 / idle as f64);
        }
        Ok(kept)
    }

    fn start(&mut self, n: usize) -> anyhow::Result<()> {
        let contender = &self.contenders[n];
        let listen = self.address(n);
        let setting = Setting {
            scenario: self.scenario,
            listen,
            threads: self.layout.threads,
            log: &self.sinks[n].path,
            folder: &self.folder,
        };
        let start = contender.prepare(&setting)?;
        if let Some(reason) = start.cannot {
            self.played[n].absent = Some(reason);
            return Ok(());
        }
        let arguments: Vec<&str> = start.arguments.iter().map(String::as_str).collect();
        let mut process = pinned(&self.layout.proxy, &self.layout.load, || {
            Process::start(&contender.name, &contender.program, &arguments, &self.folder)
        })??;
        process.wait_port(listen)?;
        self.prove(n)?;
        let pids = process.pids();
        self.running[n] = Some(Running { process, pids });
        Ok(())
    }

    /// One request by hand: what is measured must be what was meant.
    fn prove(&self, n: usize) -> anyhow::Result<()> {
        let mut stream = idle::connect(self.address(n))?;
        const REQUEST: &[u8] = b"GET /head HTTP/1.1\r\nHost: bench.test\r\n\r\n";
        let seen = match self.scenario.tls {
            None => idle::ask_text(&mut stream, REQUEST)?,
            Some(_) => idle::ask_text(&mut tls::Clients::new(false)?.secure(stream)?, REQUEST)?,
        };
        let seen = seen.to_ascii_lowercase();
        if self.scenario.http && !seen.contains("x-forwarded-for: 127.0.0.1") {
            bail!("it does not add X-Forwarded-For:\n{seen}");
        }
        if seen.contains("connection: close") {
            bail!("it does not keep connections to members:\n{seen}");
        }
        Ok(())
    }

    fn ask(&self, n: usize, time: Duration) -> anyhow::Result<peak::Peak> {
        let scenario = self.scenario;
        match scenario.tls {
            Some(tls) if tls.http2 => {
                return tls::h2load(self.address(n), &scenario.request, scenario.connections, time);
            }
            Some(tls) if scenario.request.close => {
                return tls::connections(self.address(n), &scenario.request, scenario.connections, time, tls.resumes);
            }
            Some(_) | None => {}
        }
        let scheme = if scenario.tls.is_some() { "https" } else { "http" };
        peak::run(scheme, self.address(n), &scenario.request, scenario.connections, time, &self.folder)
    }

    fn peak_round(&mut self, n: usize, time: Duration) -> anyhow::Result<PeakRound> {
        let _idle = self.visit(n)?;
        let (peak, cost) = self.measured(n, || self.ask(n, time), |peak| peak.requests)?;
        self.played[n].pss_kb = Memory::read(self.pids(n))?.pss;
        self.still_runs(n)?;
        Ok(PeakRound { rps: peak.requests as f64 / peak.time.as_secs_f64(), cost })
    }

    fn rate_round(&mut self, n: usize, rate: f64, time: Duration) -> anyhow::Result<RateRound> {
        let _idle = self.visit(n)?;
        let request = &self.scenario.request;
        let (to, connections) = (self.address(n), self.scenario.connections);
        let plan = fixed_rate::Plan { to, request: request.bytes(), close: request.close, connections, rate, time };
        let (outcome, cost) = self.measured(n, || fixed_rate::run(&plan), |outcome| outcome.answered)?;
        self.still_runs(n)?;
        if let Some(first) = outcome.errors.first() {
            bail!("{} of {} requests failed, first: {first}", outcome.errors.len(), outcome.answered);
        }
        if outcome.latency.is_empty() {
            bail!(
                "none of {} requests was answered in time; the load came up to {:?} late",
                outcome.unanswered,
                outcome.late
            );
        }
        let within = |share: f64| outcome.latency.value_at_quantile(share) as f64 / 1000.0;
        let (p50, p99, p999, max) = (within(0.5), within(0.99), within(0.999), within(1.0));
        let late = outcome.late.as_secs_f64() * 1e6;
        Ok(RateRound { p50, p99, p999, max, unanswered: outcome.unanswered, late, cost })
    }

    fn still_runs(&mut self, n: usize) -> anyhow::Result<()> {
        self.running[n].as_mut().map_or(Ok(()), |running| running.process.must_run())
    }

    /// Does `work` and says what it cost the proxy, for each of the `requests` it did.
    fn measured<T>(
        &self,
        n: usize,
        work: impl FnOnce() -> anyhow::Result<T>,
        requests: impl FnOnce(&T) -> u64,
    ) -> anyhow::Result<(T, Cost)> {
        let lines = self.sinks[n].lines();
        let before = Usage::read(self.pids(n))?;
        let (began, clock) = (Instant::now(), Clock::read()?);
        let done = work()?;
        let (wall, later) = (began.elapsed(), Clock::read()?);
        let during = Usage::read(self.pids(n))? - before;
        // Lines still to be formatted and written are part of the cost.
        pause(SETTLE);
        let used = Usage::read(self.pids(n))? - before;
        let count = requests(&done).max(1) as f64;
        let cpu_us = used.run.as_secs_f64() * 1e6 / count;
        let cost = Cost {
            cpu_us,
            user_us: cpu_us * used.user_share(),
            system_us: cpu_us * (1.0 - used.user_share()),
            switches: used.switches as f64 / count,
            lines: (self.sinks[n].lines() - lines) as f64 / count,
            proxy_cores: clock.full(&later, &self.layout.proxy),
            proxy_share: during.run.as_secs_f64() / (wall.as_secs_f64() * self.layout.proxy.len() as f64),
            load_cores: clock.full(&later, &self.layout.load),
        };
        Ok((done, cost))
    }

    fn count_syscalls(&mut self, n: usize) -> anyhow::Result<f64> {
        let _idle = self.visit(n)?;
        let counter = crate::syscalls::Counter::start(self.pids(n), &self.folder)?;
        let requests = self.ask(n, Duration::from_secs(2))?.requests;
        Ok(counter.stop()? as f64 / requests as f64)
    }

    /// HAProxy's median peak; the first contender's where there is no HAProxy.
    fn base_rate(&self) -> f64 {
        let played = self.contenders.iter().zip(&self.played);
        let mut proxies = played.filter(|(c, p)| c.kind != Kind::Direct && !p.peak.is_empty());
        let first = proxies.clone().next();
        let base = proxies.find(|(c, _)| c.kind == Kind::Haproxy).or(first);
        base.map_or(1000.0, |(_, played)| {
            crate::summary::Spread::of(played.peak.iter().map(|round| round.rps)).map_or(1000.0, |s| s.median)
        })
    }
}
