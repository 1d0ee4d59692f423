//! `lb-agent`: minds the load balancers of a node.
//!
//! It ends at SIGTERM or SIGINT and leaves the data planes running: traffic does not notice, and the next agent
//! takes them over. To end a load balancer, delete it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use lb_agent::api::{self, Guard};
use lb_agent::config::{Config, DEFAULT_FILE};
use lb_agent::hands::Env;
use lb_agent::instance::Launch;
use lb_agent::node::Node;
use lb_agent::store::Store;
use lb_agent::{in_words, log, secret};
use lb_control::server::{bind_socket, serve_guarded};
use nix::unistd::Group;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// What it means that there is no secret for all data planes of this node.
const WITHOUT_SECRET: &str =
    "persistence cookies will count for no longer than their data planes live: no secret is kept";
/// For the last events, at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Minds the load balancers of a node. At SIGTERM it ends and leaves the data planes running.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    /// What the node is like [default: /etc/weir/agent.yaml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where documents are kept
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Where sockets are
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Read the configuration, say what is wrong with it, and end
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    match start(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error("agent", in_words(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn start(options: &Options) -> anyhow::Result<()> {
    let config = configuration(options)?;
    if options.check {
        return Ok(());
    }
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(32)
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(run(config));
    // Nothing that still blocks (a sync of a slow disk) may hold up the end.
    runtime.shutdown_background();
    result
}

async fn run(config: Config) -> anyhow::Result<()> {
    // Before anything is done, so that a signal never finds us half way by surprise.
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let group = match &config.socket_group {
        Some(name) => {
            Some(Group::from_name(name)?.with_context(|| format!("socket_group: no group is called {name}"))?)
        }
        None => None,
    };
    let store = Store::open(&config.state_dir).context("cannot keep documents")?;
    let socket = config.run_dir.join("agent.sock");
    let (mode, gid) = if group.is_some() { (0o660, group.as_ref().map(|g| g.gid.as_raw())) } else { (0o600, None) };
    let listener = bind_socket(&socket, mode, gid)?;

    let persistence_secret = secret::keep(&config.state_dir)
        .inspect_err(|error| log::warn("agent", format_args!("{WITHOUT_SECRET}: {error}")))
        .ok();
    let launch = Launch {
        binary: proxy_binary(&config)?,
        user: config.user.clone(),
        drain_timeout_s: config.drain_timeout_s,
        persistence_secret,
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    log::info("agent", format_args!("started, pid {}; listening on {}", std::process::id(), socket.display()));
    let node = Node::start(Env { config, launch, processors }, store).await.context("cannot take up what is kept")?;

    let (guard, answering) = (Guard::new(group), node.clone());
    let served =
        serve_guarded(listener, move |peer| guard.admits(peer), move |request| api::answer(answering.clone(), request));
    tokio::select! {
        ended = served => bail!("the agent's socket broke: {}", ended.err().map_or_else(String::new, |e| e.to_string())),
        _ = term.recv() => log::info("agent", "SIGTERM: ending; data planes go on"),
        _ = int.recv() => log::info("agent", "SIGINT: ending; data planes go on"),
    }
    // A disk that hangs does not hold up the end.
    let _ = tokio::time::timeout(FLUSH_TIMEOUT, node.timelines().flush()).await;
    Ok(())
}

fn configuration(options: &Options) -> anyhow::Result<Config> {
    let mut config = match &options.config {
        Some(path) => Config::load(path)?,
        None if Path::new(DEFAULT_FILE).exists() => Config::load(Path::new(DEFAULT_FILE))?,
        None => Config::default(),
    };
    if let Some(dir) = &options.state_dir {
        config.state_dir.clone_from(dir);
    }
    if let Some(dir) = &options.run_dir {
        config.run_dir.clone_from(dir);
    }
    // Data planes run in another folder, and are found again by these paths.
    config.state_dir = std::path::absolute(&config.state_dir)?;
    config.run_dir = std::path::absolute(&config.run_dir)?;
    Ok(config)
}

fn proxy_binary(config: &Config) -> anyhow::Result<PathBuf> {
    const NAME: &str = "lb-proxy";
    if let Some(path) = &config.proxy_binary {
        if !path.is_file() {
            bail!("proxy_binary: {} is not a file", path.display());
        }
        return Ok(std::path::absolute(path)?);
    }
    lb_agent::find_program(NAME)
        .with_context(|| format!("{NAME} is neither beside lb-agent nor in PATH; set proxy_binary"))
}

/// Each load balancer costs a few descriptors, and a data plane inherits the limit.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::warn("agent", format_args!("cannot raise the limit of open files: {error}"));
    }
}
