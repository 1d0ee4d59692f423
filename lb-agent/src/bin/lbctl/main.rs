//! `lbctl`: the command of a Weir node.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage. Results go to standard output, errors to standard error.

mod demo;
mod events;
mod explain;
mod limits;
mod member;
mod output;
mod persistence;
mod run;
mod stage;
mod talk;
mod tree;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use lb_control::node::{DEFAULT_SOCKET, NodeError};

use crate::output::Format;

/// Talks to the agent of a node: one document describes one load balancer.
#[derive(Debug, Parser)]
#[command(name = "lbctl", version, arg_required_else_help = true)]
struct Options {
    /// The agent's socket
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// How results are written
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create or replace load balancers; done when they are served
    Apply {
        /// A document, YAML or JSON; `-`: standard input
        #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the document of a load balancer, as it may be applied again
    Get {
        /// Its name or id
        name: String,
    },
    /// List the load balancers of the node
    List,
    /// Show a load balancer in short
    Show {
        /// Its name or id
        name: String,
    },
    /// Remove load balancers; done when nothing of them is left
    Delete {
        /// Their names or ids
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Show the tree: load balancer, listeners, pools, members
    Status {
        /// Its name or id; without: all
        name: Option<String>,
    },
    /// Show what happened: who turned, why, by whom, with what effect
    Events(events::EventsOptions),
    /// Show what would become of a request, and why; nothing changes by it
    Explain(explain::ExplainOptions),
    /// Show figures of listeners, pools and members
    Stats {
        /// Its name or id; without: all
        name: Option<String>,
    },
    /// Show, save or load who is remembered to be where
    #[command(subcommand)]
    Persistence(persistence::PersistenceCommand),
    /// Find the mistakes of documents; needs no agent
    Check {
        /// A document, YAML or JSON; `-`: standard input
        #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of documents
    Schema,
    /// Balance in the foreground, without an agent or a document
    Run(RunOptions),
    /// Show everything: an agent, a VIP, two members and a client, in namespaces of their own
    Demo {
        /// End when all has been shown
        #[arg(long)]
        once: bool,
    },
    /// Be a small HTTP member that answers its name
    Member {
        /// Where to listen
        #[arg(long, value_name = "IP:PORT")]
        listen: SocketAddr,
        /// What to answer
        #[arg(long)]
        name: String,
    },
}

/// What `lbctl run` balances.
#[derive(Debug, clap::Args)]
struct RunOptions {
    /// Where clients connect
    #[arg(long, value_name = "IP:PORT")]
    listen: SocketAddr,
    /// A member
    #[arg(long, value_name = "IP:PORT", required = true, num_args = 1..)]
    to: Vec<SocketAddr>,
    /// What is spoken
    #[arg(long, value_enum, ignore_case = true, default_value = "HTTP")]
    protocol: Protocol,
    /// How a member is chosen
    #[arg(long, value_enum, ignore_case = true, default_value = "ROUND_ROBIN")]
    algorithm: Algorithm,
    /// Data threads [default: one for each processor]
    #[arg(long, value_name = "N")]
    workers: Option<u16>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
enum Protocol {
    Http,
    Tcp,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
enum Algorithm {
    RoundRobin,
    LeastConnections,
    SourceIp,
}

/// A word of clap's as documents write it.
fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn main() -> ExitCode {
    let options = Options::parse();
    match execute(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Already says all it has to say, over several lines.
            if error.is::<output::Told>() {
                return ExitCode::FAILURE;
            }
            match error.downcast_ref::<NodeError>() {
                Some(NodeError::Refused(refused)) => eprintln!("{}", refused.rendered.trim_end()),
                _ => eprintln!("lbctl: {}", lb_agent::in_words(error.as_ref())),
            }
            ExitCode::FAILURE
        }
    }
}

fn execute(options: Options) -> anyhow::Result<()> {
    let Options { socket, output, command } = options;
    match command {
        Command::Check { files } => talk::check(&files, output),
        Command::Schema => output::json(&lb_core::spec::json_schema()),
        Command::Run(options) => run::run(&options),
        // Before the runtime: a process with threads cannot enter a user namespace.
        Command::Demo { once } => {
            let rights = demo::prepare()?;
            runtime()?.block_on(demo::demo(once, rights))
        }
        Command::Member { listen, name } => runtime()?.block_on(member::serve(listen, name)),
        command => runtime()?.block_on(talk::talk(&socket, output, command)),
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// `lbctl list | head -1` is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
