//! A listener's `log` crossing the border.

use std::path::{Path, PathBuf};

use super::{Border, types};
use crate::config::{self, ListenerProtocol};
use crate::spec::mistake::shown;

impl Border<'_> {
    pub(super) fn log(
        &mut self,
        written: Option<types::LogSetting>,
        protocol: Option<ListenerProtocol>,
    ) -> config::LogSettings {
        let http = protocol.is_some_and(ListenerProtocol::is_http);
        let mut log = config::LogSettings {
            format: Some(if http { config::LogFormat::Httplog } else { config::LogFormat::Tcplog }),
            target: config::LogTarget::Stderr,
            facility: config::SyslogFacility::LOCAL0,
            tag: LOG_TAG.to_owned(),
        };
        let written = match written {
            None => return log,
            Some(types::LogSetting::Off(_)) => {
                return config::LogSettings { format: None, ..log };
            }
            Some(types::LogSetting::Settings(written)) => written,
        };
        let inner = written.at;
        if let Some(format) = written.format {
            log.format = log_format(format);
            if log.format == Some(config::LogFormat::Httplog) && protocol.is_some() && !http {
                let help = "use `tcplog` or `json`".to_owned();
                let spot = self.tree.spot_of(inner, "format");
                self.mistake(spot, "`httplog` needs an HTTP listener: this one reads no requests", help);
            }
        }
        if let Some(target) = written.target {
            match log_target(&target.0) {
                Ok(target) => log.target = target,
                Err((message, help)) => self.mistake(self.tree.spot_of(inner, "target"), message, help.to_owned()),
            }
        }
        if let Some(facility) = written.facility {
            log.facility = config::SyslogFacility(facility as u8);
        }
        if let Some(tag) = written.tag {
            if !tag.0.bytes().all(|b| b.is_ascii_graphic()) {
                let help = "printable ASCII characters without spaces".to_owned();
                self.mistake(self.tree.spot_of(inner, "tag"), "this is no name of a program", help);
            }
            log.tag = tag.0;
        }
        log
    }
}

fn log_format(written: types::LogFormat) -> Option<config::LogFormat> {
    match written {
        types::LogFormat::Httplog => Some(config::LogFormat::Httplog),
        types::LogFormat::Tcplog => Some(config::LogFormat::Tcplog),
        types::LogFormat::Json => Some(config::LogFormat::Json),
        types::LogFormat::None => None,
    }
}

fn log_target(written: &str) -> Result<config::LogTarget, (String, &'static str)> {
    if written == "stderr" {
        return Ok(config::LogTarget::Stderr);
    }
    let path = |path: &str| -> Result<PathBuf, (String, &'static str)> {
        if !Path::new(path).is_absolute() || path.ends_with('/') {
            return Err(("the path is not the absolute path of a file".to_owned(), "it starts with `/`"));
        }
        Ok(PathBuf::from(path))
    };
    if let Some(file) = written.strip_prefix("file:") {
        return path(file).map(config::LogTarget::File);
    }
    if let Some(socket) = written.strip_prefix("syslog:") {
        if socket.len() > SOCKET_PATH_LEN_MAX {
            return Err(("the path is too long for a socket".to_owned(), "at most 107 bytes"));
        }
        return path(socket).map(config::LogTarget::Syslog);
    }
    let message = format!("{} is no target of a log", shown(written));
    Err((message, "`stderr`, `file:/absolute/path`, or `syslog:/dev/log`"))
}

const LOG_TAG: &str = "weir";
/// What fits in a Unix socket's address on Linux.
const SOCKET_PATH_LEN_MAX: usize = 107;
