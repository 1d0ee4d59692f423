//! Where lines end up: standard error, a file, a syslog socket. None of them may hold anybody up for long.
//!
//! Lines are gathered and go out in few calls: a write for a stream, and for syslog, where each line is a
//! datagram, one call for many of them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lb_core::config::{LogFormat, LogSettings, LogTarget};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::sys;

/// RFC 5424 section 6.2.1: severity `info`, at which traffic is logged.
const INFO: u8 = 6;
/// Gathered lines go out when they are this many bytes.
const GATHERED_MAX: usize = 64 * 1024;
/// A syslog daemon that does not keep up is waited for this long, once for each stretch in which it takes nothing.
const PATIENCE: Duration = Duration::from_millis(20);

/// An open target.
#[derive(Debug)]
pub struct Sink {
    target: Target,
    /// Shape of its lines.
    pub format: LogFormat,
    gathered: Vec<u8>,
    /// Where each gathered line ends.
    ends: Vec<usize>,
}

#[derive(Debug)]
enum Target {
    Stderr,
    File(File),
    Syslog(Syslog),
}

/// A syslog socket; connected again when the daemon behind it was restarted.
#[derive(Debug)]
struct Syslog {
    settings: LogSettings,
    socket: Option<UnixDatagram>,
    /// `<PRI>Mon dd HH:MM:SS tag[pid]: `, as the C library's syslog and HAProxy's `local` format.
    header: Vec<u8>,
    header_second: Option<i64>,
    /// It took nothing for as long as we wait.
    stalled: bool,
}

impl Sink {
    /// Opens the target of `settings` for lines of `format`. A syslog socket nobody listens on is no error: it
    /// may come.
    pub fn open(settings: &LogSettings, format: LogFormat) -> io::Result<Self> {
        let target = match &settings.target {
            LogTarget::Stderr => Target::Stderr,
            LogTarget::File(path) => Target::File(OpenOptions::new().append(true).create(true).open(path)?),
            LogTarget::Syslog(_) => Target::Syslog(Syslog {
                settings: settings.clone(),
                socket: None,
                header: Vec::new(),
                header_second: None,
                stalled: false,
            }),
        };
        Ok(Self { target, format, gathered: Vec::new(), ends: Vec::new() })
    }

    /// Takes one line, which `write` appends without its end. `now` is the wall-clock time. Returns how many
    /// lines were lost.
    pub fn put(&mut self, now: Timestamp, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        match &mut self.target {
            Target::Stderr | Target::File(_) => {
                write(&mut self.gathered);
                self.gathered.push(b'\n');
            }
            Target::Syslog(syslog) => {
                self.gathered.extend_from_slice(syslog.header(now));
                write(&mut self.gathered);
            }
        }
        self.ends.push(self.gathered.len());
        if self.gathered.len() < GATHERED_MAX { 0 } else { self.flush() }
    }

    /// Writes out what was gathered. Returns how many lines were lost.
    pub fn flush(&mut self) -> u64 {
        if self.ends.is_empty() {
            return 0;
        }
        let all_or_nothing = |written: io::Result<()>| if written.is_ok() { 0 } else { self.ends.len() };
        let lost = match &mut self.target {
            Target::Stderr => all_or_nothing(io::stderr().write_all(&self.gathered)),
            Target::File(file) => all_or_nothing(file.write_all(&self.gathered)),
            Target::Syslog(syslog) => syslog.send(&self.gathered, &self.ends),
        };
        self.gathered.clear();
        self.ends.clear();
        lost as u64
    }

    /// Gives the memory of a busy moment back.
    pub fn release(&mut self) {
        self.gathered = Vec::new();
        self.ends = Vec::new();
    }
}

impl Syslog {
    fn header(&mut self, now: Timestamp) -> &[u8] {
        if self.header_second != Some(now.as_second()) {
            self.header_second = Some(now.as_second());
            let priority = u16::from(self.settings.facility.0) * 8 + u16::from(INFO);
            let local = now.to_zoned(TimeZone::system());
            self.header.clear();
            // Writing to a Vec cannot fail.
            let _ = write!(
                self.header,
                "<{priority}>{} {}[{}]: ",
                local.strftime("%b %e %H:%M:%S"),
                self.settings.tag,
                std::process::id()
            );
        }
        &self.header
    }

    /// Sends every line of `lines` as a datagram. Returns how many were lost.
    fn send(&mut self, lines: &[u8], ends: &[usize]) -> usize {
        let (mut done, mut lost) = (0, 0);
        let mut reconnected = false;
        while done < ends.len() {
            let Some(socket) = self.socket.take().or_else(|| self.connect().ok()) else { break };
            match sys::send_datagrams(socket.as_fd(), lines, done, ends) {
                Ok(sent) => {
                    done += sent;
                    self.stalled = false;
                }
                // The daemon is there and does not keep up. What it has no room for is lost; the connection is not.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled = self.stalled || !writable(&socket, PATIENCE);
                    if self.stalled {
                        self.socket = Some(socket);
                        break;
                    }
                }
                // One line that no datagram can hold.
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    done += 1;
                    lost += 1;
                }
                // The daemon was restarted, or is gone.
                Err(_) if reconnected => break,
                Err(_) => {
                    reconnected = true;
                    continue;
                }
            }
            self.socket = Some(socket);
        }
        lost + ends.len() - done
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let LogTarget::Syslog(path) = &self.settings.target else { return Err(io::ErrorKind::NotFound.into()) };
        let socket = UnixDatagram::unbound()?;
        // A daemon that does not read must not hold up the lines of other sinks.
        socket.set_nonblocking(true)?;
        socket.connect(path)?;
        Ok(socket)
    }
}

fn writable(socket: &UnixDatagram, patience: Duration) -> bool {
    let Ok(patience) = Timespec::try_from(patience) else { return false };
    let mut ready = [PollFd::new(socket, PollFlags::OUT)];
    matches!(poll(&mut ready, Some(&patience)), Ok(n) if n > 0)
}
