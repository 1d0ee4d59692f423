//! Where lines end up: standard error, a file, a syslog socket. None of them may hold anybody up for long.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lb_core::config::{LogSettings, LogTarget};

/// RFC 5424 section 6.2.1: severity `info`, at which traffic is logged.
const INFO: u8 = 6;

/// An open target.
#[derive(Debug)]
pub enum Sink {
    /// Lines, gathered and written in one go.
    Stream(Stream, Vec<u8>),
    /// One datagram for each line.
    Syslog(Syslog),
}

/// What a stream of lines is written to.
#[derive(Debug)]
pub enum Stream {
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(File),
}

/// A syslog socket; connected again when the daemon behind it was restarted.
#[derive(Debug)]
pub struct Syslog {
    settings: LogSettings,
    socket: Option<UnixDatagram>,
    datagram: Vec<u8>,
}

impl Sink {
    /// Opens the target of `settings`. A syslog socket nobody listens on is no error: it may come.
    pub fn open(settings: &LogSettings) -> io::Result<Self> {
        Ok(match &settings.target {
            LogTarget::Stderr => Self::Stream(Stream::Stderr, Vec::new()),
            LogTarget::File(path) => {
                Self::Stream(Stream::File(OpenOptions::new().append(true).create(true).open(path)?), Vec::new())
            }
            LogTarget::Syslog(_) => {
                Self::Syslog(Syslog { settings: settings.clone(), socket: None, datagram: Vec::new() })
            }
        })
    }

    /// Takes one line, which began at `at`. Returns how many lines were lost.
    pub fn put(&mut self, line: &str, at: Timestamp) -> u64 {
        match self {
            Self::Stream(_, gathered) => {
                gathered.extend_from_slice(line.as_bytes());
                gathered.push(b'\n');
                0
            }
            Self::Syslog(syslog) => u64::from(syslog.send(line, at).is_err()),
        }
    }

    /// Writes out what was gathered. Returns how many lines were lost.
    pub fn flush(&mut self) -> u64 {
        let Self::Stream(stream, gathered) = self else { return 0 };
        if gathered.is_empty() {
            return 0;
        }
        let written = match stream {
            Stream::Stderr => io::stderr().write_all(gathered),
            Stream::File(file) => file.write_all(gathered),
        };
        let lost = if written.is_err() { memchr::memchr_iter(b'\n', gathered).count() as u64 } else { 0 };
        gathered.clear();
        gathered.shrink_to(64 * 1024);
        lost
    }
}

impl Syslog {
    /// `<PRI>Mon dd HH:MM:SS tag[pid]: line`, as the C library's syslog and HAProxy's `local` format.
    fn send(&mut self, line: &str, at: Timestamp) -> io::Result<()> {
        let priority = u16::from(self.settings.facility.0) * 8 + u16::from(INFO);
        let local = at.to_zoned(TimeZone::system());
        self.datagram.clear();
        write!(
            self.datagram,
            "<{priority}>{} {}[{}]: {line}",
            local.strftime("%b %e %H:%M:%S"),
            self.settings.tag,
            std::process::id()
        )?;
        if let Some(socket) = &self.socket {
            match socket.send(&self.datagram) {
                Ok(_) => return Ok(()),
                // The daemon is there and does not keep up: the line is lost, the connection is not.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => {}
            }
        }
        self.socket = None;
        let LogTarget::Syslog(path) = &self.settings.target else { return Ok(()) };
        let socket = UnixDatagram::unbound()?;
        // A daemon that does not read must not hold up the lines of other sinks.
        socket.set_nonblocking(true)?;
        socket.connect(path)?;
        socket.send(&self.datagram)?;
        self.socket = Some(socket);
        Ok(())
    }
}
