//! `lb-proxy`: serves one VIP, alone with `--config` or under an agent with `--control` and `--handoff`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use lb_control::events::{Event, EventKind, Subject};
use lb_core::config::LoadBalancer;
use lb_core::persistence::Secret;
use lb_core::persistence::secret::SECRET_LEN_MIN;
use lb_health::Pinger;
use lb_proxy::instance::{self, Instance};
use lb_proxy::memory::Memory;
use lb_proxy::observe::writer::Writer;
use lb_proxy::{control, health, persistence, privilege, shortage, sys};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::unix::AsyncFd;

#[global_allocator]
static MEMORY: sys::recycle::Recycling = sys::recycle::Recycling;

const USAGE: &str = "\
usage: lb-proxy --config FILE [--check] [--control SOCKET] [options]
       lb-proxy --control SOCKET [--handoff SOCKET] [options]

Serves one load balancer: the document in FILE, or the one it is given over its control socket.

  -c, --config FILE          document to serve (YAML or JSON)
      --check                only validate the document
      --control SOCKET       HTTP/JSON on a Unix socket: document, statistics, health
      --handoff SOCKET       take and give listening sockets here
      --persistence-secret FILE
                             what persistence cookies are made unforgeable with: a file of at least 16 bytes that
                             nobody else can read (default: made at start, so cookies count no more after the end)
      --user NAME            become this user once sockets are bound, if started as root (default: nobody)
      --memory-limit MB      turn new clients away when the process comes near this (default: its control group's)
      --drain-timeout SECS   on SIGTERM, let sessions finish for this long (default: 30)
  -h, --help                 this text
  -V, --version              version

SIGTERM and SIGINT: accept nothing new, let sessions finish, end; once more: end now.
SIGHUP: open log files again.
";

/// Events taken by one wait of the control thread, which has a handful of descriptors.
const CONTROL_EVENTS_PER_WAIT: usize = 32;

/// Data threads hardly allocate in steady state, so one arena serves all; each more costs a VIP about 100 kB.
const HEAP_ARENAS: i32 = 1;

#[derive(Debug)]
struct Options {
    config: Option<PathBuf>,
    check: bool,
    control: Option<PathBuf>,
    handoff: Option<PathBuf>,
    persistence_secret: Option<PathBuf>,
    user: String,
    memory_limit: Option<u64>,
    drain_timeout: Duration,
}

enum Asked {
    Run(Options),
    Text(&'static str),
}

fn main() -> ExitCode {
    let options = match parse_arguments() {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Text(text)) => {
            say(text);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("lb-proxy: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lb-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse_arguments() -> Result<Asked, lexopt::Error> {
    use lexopt::prelude::{Long, Short, ValueExt};
    let mut options = Options {
        config: None,
        check: false,
        control: None,
        handoff: None,
        persistence_secret: None,
        user: "nobody".to_owned(),
        memory_limit: None,
        drain_timeout: Duration::from_secs(30),
    };
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('c') | Long("config") => options.config = Some(arguments.value()?.into()),
            Long("check") => options.check = true,
            Long("control") => options.control = Some(arguments.value()?.into()),
            Long("handoff") => options.handoff = Some(arguments.value()?.into()),
            Long("persistence-secret") => options.persistence_secret = Some(arguments.value()?.into()),
            Long("user") => options.user = arguments.value()?.string()?,
            Long("memory-limit") => {
                let megabytes: u64 = arguments.value()?.parse()?;
                let bytes = megabytes.checked_mul(1 << 20).filter(|bytes| *bytes > 0);
                options.memory_limit =
                    Some(bytes.ok_or_else(|| lexopt::Error::from("--memory-limit takes a number of megabytes"))?);
            }
            Long("drain-timeout") => {
                let seconds: f64 = arguments.value()?.parse()?;
                options.drain_timeout = Duration::try_from_secs_f64(seconds)
                    .map_err(|_| lexopt::Error::from("--drain-timeout takes a number of seconds"))?;
            }
            Short('h') | Long("help") => return Ok(Asked::Text(USAGE)),
            Short('V') | Long("version") => {
                return Ok(Asked::Text(concat!("lb-proxy ", env!("CARGO_PKG_VERSION"), "\n")));
            }
            other => return Err(other.unexpected()),
        }
    }
    if options.config.is_none() && (options.check || options.control.is_none()) {
        return Err("nothing to serve: give --config or --control".into());
    }
    Ok(Asked::Run(options))
}

fn run(options: &Options) -> anyhow::Result<()> {
    sys::economize_heap(HEAP_ARENAS);
    let config = match &options.config {
        Some(path) => Some(read_document(path)?),
        None => None,
    };
    if options.check {
        say("the document is valid\n");
        return Ok(());
    }
    privilege::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_io_events_per_tick(CONTROL_EVENTS_PER_WAIT)
        .build()?;
    runtime.block_on(serve(options, config))
}

fn read_document(path: &PathBuf) -> anyhow::Result<LoadBalancer> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    instance::understand(&path.display().to_string(), &text)?.map_err(|mistakes| {
        anyhow::anyhow!("{} is refused, nothing is served\n\n{}", path.display(), mistakes.rendered)
    })
}

/// Read before root is dropped: whom we become need not be able to.
fn secret(options: &Options) -> anyhow::Result<Secret> {
    let Some(path) = &options.persistence_secret else {
        return persistence::random_secret().context("cannot make a secret for persistence");
    };
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Secret::from_bytes(&bytes).with_context(|| format!("{} has fewer than {SECRET_LEN_MIN} bytes", path.display()))
}

async fn serve(options: &Options, config: Option<LoadBalancer>) -> anyhow::Result<()> {
    // While root is held, if it is: where the kernel lets nobody send echoes, a socket for them is opened now.
    let memory = Memory::bounded_by(options.memory_limit).context("cannot tell how much memory is taken")?;
    let instance = Instance::new(Pinger::open_ahead(), memory, secret(options)?);
    // Signals first: one that comes during the start must not be lost, nor end us halfway.
    let signals = Signals::catch()?;
    if let Some(config) = &config {
        instance.bind_ahead(config)?;
    }
    open_local_sockets(options, &instance)?;
    privilege::drop_root(&options.user, config.as_ref())?;
    let writer = Writer::start(Arc::clone(&instance.process.log)).context("cannot start the log thread")?;
    instance.minder.timeline.tell(started());
    tokio::spawn(shortage::tell(Arc::clone(&instance)));
    let mut minding = tokio::spawn(health::mind(Arc::clone(&instance)));
    if let Some(config) = config {
        instance.apply(config).await?;
    }
    loop {
        tokio::select! {
            wish = signals.next() => match wish {
                Wish::Reopen => {
                    writer.reopen();
                    // Told on the timeline if it fails, and the old ones stay.
                    let _ = instance.renew_tls();
                }
                Wish::End => break,
            },
            () = instance.drain_requested() => break,
            // Members nobody minds any more would stay as they are for ever: better another process does.
            ended = &mut minding => anyhow::bail!("nobody minds the members' health any more: {ended:?}"),
        }
    }
    let left = tokio::select! {
        left = instance.drain(options.drain_timeout) => left,
        () = signals.end() => instance.process.connections(),
    };
    if left > 0 {
        eprintln!("lb-proxy: ended with {left} connections open");
    }
    writer.stop(Duration::from_millis(500));
    remove_local_sockets(options);
    // Workers have nothing left to do, or were told not to finish it.
    std::process::exit(0);
}

fn started() -> Event {
    let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION"));
    Event {
        new: format!("lb-proxy {version} began"),
        ..Event::new(
            EventKind::DataPlaneStarted,
            Subject { kind: "data_plane".to_owned(), id: pid.to_string(), name: String::new() },
        )
    }
}

fn open_local_sockets(options: &Options, instance: &Arc<Instance>) -> anyhow::Result<()> {
    if let Some(path) = &options.control {
        let listener = lb_control::server::bind_socket(path, 0o600, None)?;
        let instance = Arc::clone(instance);
        tokio::spawn(lb_control::server::serve(listener, move |request| {
            control::handle(Arc::clone(&instance), request)
        }));
    }
    if let Some(path) = &options.handoff {
        let listener = lb_control::server::bind_socket(path, 0o600, None)?;
        tokio::spawn(lb_control::handoff::serve(listener, Arc::clone(instance)));
    }
    Ok(())
}

fn remove_local_sockets(options: &Options) {
    for path in [&options.control, &options.handoff].into_iter().flatten() {
        // Whoever dropped root may not be allowed to; a stale file is replaced by the next start.
        let _ = std::fs::remove_file(path);
    }
}

/// Signals as something to wait for. A descriptor takes less memory than handlers do.
struct Signals {
    descriptor: AsyncFd<SignalFd>,
}

impl Signals {
    /// From here on they are waited for. Threads started later inherit that.
    fn catch() -> anyhow::Result<Self> {
        let set = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
        set.thread_block().context("cannot block signals")?;
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { descriptor: sys::watch_signals(descriptor)? })
    }

    async fn next(&self) -> Wish {
        loop {
            let Ok(mut ready) = self.descriptor.readable().await else { return Wish::End };
            match self.descriptor.get_ref().read_signal() {
                Ok(Some(signal)) if signal.ssi_signo == Signal::SIGHUP as u32 => return Wish::Reopen,
                Ok(Some(_)) => return Wish::End,
                _ => ready.clear_ready(),
            }
        }
    }

    /// Waits for a signal that asks for the end.
    async fn end(&self) {
        while self.next().await != Wish::End {}
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    End,
    Reopen,
}

#[expect(clippy::print_stdout, reason = "what was asked for on the command line goes to standard output")]
fn say(text: &str) {
    print!("{text}");
}
