//! The events of one load balancer on disk: `<state_dir>/loadbalancers/<id>.events`, a line of JSON for each, appended.
//!
//! Every line begins with the checksum of what follows in it, so a line that a crash cut short, or that the disk
//! damaged, is known and left out; all others count. The first line names the row. At twice [`EVENTS_KEPT`] lines the
//! last [`EVENTS_KEPT`] are written anew, beside, synced and renamed over. Appended lines are not synced one by one, as
//! documents are: they survive the end of every process, and a power loss may cost the last of them.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lb_control::events::{EVENTS_KEPT, Event};
use serde::{Deserialize, Serialize};

/// Version of the format written.
const FORMAT: u32 = 1;
/// Of a file with so many lines only the last [`EVENTS_KEPT`] are kept.
const LINES_MAX: usize = 2 * EVENTS_KEPT;
/// What every line begins with: checksum, then the rest of the object.
const PREFIX: &str = "{\"crc32\":\"";
const PREFIX_BYTES: usize = PREFIX.len() + 8 + 2;

/// A place in the row of a data plane's events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Which row; 0: none.
    pub row: u64,
    /// The last number seen in it.
    pub seq: u64,
}

/// One event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What happened.
    pub event: Event,
    /// Where it came from; `None`: the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Cursor>,
}

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    weir_events: u32,
    /// Which row this is.
    pub row: u64,
    /// The last number given when this was written.
    pub last: u64,
    /// What had been seen of a data plane's events then: the events that would tell may be among the forgotten.
    pub plane: Cursor,
}

impl Header {
    /// Of the format this agent writes.
    pub fn new(row: u64, last: u64, plane: Cursor) -> Self {
        Self { weir_events: FORMAT, row, last, plane }
    }
}

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// `None`: there is no first line, or a damaged one.
    pub header: Option<Header>,
    /// All that are whole, in order.
    pub records: Vec<Record>,
    /// Lines that are not.
    pub damaged: usize,
    /// The end of the last whole line.
    len: u64,
    lines: usize,
}

/// Writes the file. What is known of it is true only while nobody else writes it.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    /// Up to here it is good; what may follow is the rest of a write that failed.
    len: u64,
    lines: usize,
    /// It holds lines that are damaged: the next write makes it anew.
    is_damaged: bool,
}

impl EventFile {
    /// Reads what there is. A file that is missing is empty.
    pub fn open(path: PathBuf) -> (Self, io::Result<Contents>) {
        let contents = read(&path);
        let (len, lines, is_damaged) = contents.as_ref().map_or((0, 0, true), |c| {
            let headless = c.header.is_none() && c.lines > 0;
            (c.len, c.lines, c.damaged > 0 || headless)
        });
        (Self { path, len, lines, is_damaged }, contents)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it once more.
    pub fn read(&self) -> io::Result<Contents> {
        read(&self.path)
    }

    /// Adds `records`. On an error none of them count, and the next call may try again.
    pub fn append(&mut self, header: Header, records: &[Record]) -> io::Result<()> {
        if self.len == 0 || self.is_damaged || self.lines + records.len() > LINES_MAX {
            return self.write_anew(header, records);
        }
        let mut file = match File::options().write(true).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.write_anew(header, records),
            file => file?,
        };
        let there = file.metadata()?.len();
        if there < self.len {
            return self.write_anew(header, records);
        }
        if there > self.len {
            file.set_len(self.len)?;
        }
        let mut text = Vec::new();
        for record in records {
            text.extend(line(record)?);
        }
        file.seek(SeekFrom::Start(self.len))?;
        file.write_all(&text)?;
        self.len += text.len() as u64;
        self.lines += records.len();
        Ok(())
    }

    fn write_anew(&mut self, header: Header, records: &[Record]) -> io::Result<()> {
        let mut all = self.read().map(|contents| contents.records).unwrap_or_default();
        all.extend_from_slice(records);
        let kept = &all[all.len().saturating_sub(EVENTS_KEPT)..];
        let mut text = line(&header)?;
        for record in kept {
            text.extend(line(record)?);
        }
        // Swept at the next start if a crash leaves it.
        let mut new = self.path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        let written = write_synced(&new, &text).and_then(|()| fs::rename(&new, &self.path));
        written.inspect_err(|_| drop(fs::remove_file(&new)))?;
        (self.len, self.lines, self.is_damaged) = (text.len() as u64, kept.len() + 1, false);
        Ok(())
    }

    /// Removes it; it need not be there.
    pub fn remove(&mut self) -> io::Result<()> {
        (self.len, self.lines, self.is_damaged) = (0, 0, false);
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn write_synced(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    // Before it takes the place of what is good.
    file.sync_data()
}

/// `{"crc32":"89abcdef","event":{...}}` and a newline; the sum is of all that follows `89abcdef",` up to the newline.
fn line<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let json = serde_json::to_string(value)?;
    let rest = &json[1..];
    Ok(format!("{PREFIX}{:08x}\",{rest}\n", crc32fast::hash(rest.as_bytes())).into_bytes())
}

/// A whole line without its newline, as what it holds.
fn unwrap<T: serde::de::DeserializeOwned>(line: &[u8]) -> Option<T> {
    let (prefix, rest) = line.split_at_checked(PREFIX_BYTES)?;
    if *prefix != *format!("{PREFIX}{:08x}\",", crc32fast::hash(rest)).as_bytes() {
        return None;
    }
    let mut json = b"{".to_vec();
    json.extend_from_slice(rest);
    serde_json::from_slice(&json).ok()
}

fn read(path: &Path) -> io::Result<Contents> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
        text => text?,
    };
    let mut contents = Contents::default();
    let mut at = 0;
    while at < text.len() {
        let end = text[at..].iter().position(|b| *b == b'\n').map(|end| at + end);
        contents.take(&text[at..end.unwrap_or(text.len())], end.is_some());
        at = end.map_or(text.len(), |end| end + 1);
        if end.is_some() {
            contents.len = at as u64;
            contents.lines += 1;
        }
    }
    Ok(contents)
}

impl Contents {
    fn take(&mut self, line: &[u8], is_whole: bool) {
        let last = self.records.last().map_or(0, |record| record.event.seq);
        if !is_whole {
            self.damaged += 1;
        } else if let Some(record) = unwrap::<Record>(line) {
            // A line that a disk gave twice.
            if record.event.seq > last {
                self.records.push(record);
            }
        } else {
            let header = unwrap::<Header>(line).filter(|header| header.weir_events == FORMAT);
            self.damaged += usize::from(header.is_none());
            self.header = self.header.or(header);
        }
    }

    /// The last number that may have been given: damaged lines had one, too.
    pub fn last(&self) -> u64 {
        let told = self.records.last().map_or(0, |record| record.event.seq);
        told.max(self.header.map_or(0, |header| header.last)) + self.damaged as u64
    }

    /// How far a data plane's events are known.
    pub fn plane(&self) -> Cursor {
        let told = self.records.iter().rev().find_map(|record| record.from);
        told.or(self.header.map(|header| header.plane)).unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
