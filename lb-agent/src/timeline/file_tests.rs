//! Damage of every kind to a file of events, and what is left of it.

use super::*;
use lb_control::events::{EventKind, Subject};

fn record(seq: u64, from: Option<Cursor>) -> Record {
    let subject = Subject { kind: "member".into(), id: "1".into(), name: "web/web-1".into() };
    let kind = EventKind::MemberDown;
    let [old, new, reason, by, effect] = ["UP", "DOWN", "HTTP 500", "monitor m", ""].map(str::to_owned);
    Record { event: Event { seq, at_ms: 7, kind, subject, old, new, reason, by, effect }, from }
}

fn records(seqs: std::ops::RangeInclusive<u64>) -> Vec<Record> {
    seqs.map(|seq| record(seq, Some(Cursor { row: 3, seq: seq + 100 }))).collect()
}

fn header(last: u64) -> Header {
    Header::new(9, last, Cursor { row: 3, seq: last + 100 })
}

fn seqs(contents: &Contents) -> Vec<u64> {
    contents.records.iter().map(|record| record.event.seq).collect()
}

fn place(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("id.events")
}

#[test]
fn appended_events_are_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut file, empty) = EventFile::open(place(&dir));
    assert_eq!(empty.unwrap(), Contents::default());
    file.append(header(1), &records(1..=1)).unwrap();
    file.append(header(4), &records(2..=4)).unwrap();
    let (_, contents) = EventFile::open(place(&dir));
    let contents = contents.unwrap();
    assert_eq!(contents.records, records(1..=4));
    assert_eq!((contents.last(), contents.damaged), (4, 0));
    assert_eq!(contents.plane(), Cursor { row: 3, seq: 104 });
    for line in fs::read_to_string(place(&dir)).unwrap().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn a_torn_tail_is_cut_and_numbers_are_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut file, _) = EventFile::open(place(&dir));
    file.append(header(0), &records(1..=3)).unwrap();
    let whole = fs::read(place(&dir)).unwrap();
    let before = whole.len() - line(&records(3..=3)[0]).unwrap().len();
    for cut in before..whole.len() {
        fs::write(place(&dir), &whole[..cut]).unwrap();
        let (mut file, contents) = EventFile::open(place(&dir));
        let contents = contents.unwrap();
        assert_eq!(seqs(&contents), [1, 2], "cut at {cut}");
        assert_eq!(contents.damaged, usize::from(cut > before), "cut at {cut}");
        let next = contents.last() + 1;
        assert_eq!(next, if cut > before { 4 } else { 3 });
        file.append(header(next), &[record(next, None)]).unwrap();
        let after = file.read().unwrap();
        assert_eq!((seqs(&after), after.damaged), (vec![1, 2, next], 0), "cut at {cut}");
        assert_eq!(after.header.unwrap().row, 9);
    }
}

#[test]
fn every_flipped_bit_costs_its_line_only() {
    let dir = tempfile::tempdir().unwrap();
    let (mut file, _) = EventFile::open(place(&dir));
    file.append(header(0), &records(1..=3)).unwrap();
    let whole = fs::read(place(&dir)).unwrap();
    for byte in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[byte] ^= 1 << (byte % 8);
        fs::write(place(&dir), &flipped).unwrap();
        let (mut file, contents) = EventFile::open(place(&dir));
        let contents = contents.unwrap();
        assert!(contents.damaged > 0, "flipped in {byte}");
        // A newline that is lost takes the line behind it along.
        let lost = if whole[byte] == b'\n' { 2 } else { 1 };
        assert!(contents.records.len() + usize::from(contents.header.is_some()) >= 4 - lost, "flipped in {byte}");
        assert!(contents.records.iter().all(|record| records(1..=3).contains(record)), "flipped in {byte}");
        file.append(header(9), &[record(9, None)]).unwrap();
        assert_eq!(file.read().unwrap().damaged, 0, "flipped in {byte}");
    }
}

#[test]
fn it_stays_small_and_remembers_what_it_forgot() {
    let dir = tempfile::tempdir().unwrap();
    let (mut file, _) = EventFile::open(place(&dir));
    file.append(header(1), &records(1..=1)).unwrap();
    // All others are the agent's own: the data plane's place would be lost with the first.
    let mut most = 0;
    for seq in 2..=5 * EVENTS_KEPT as u64 {
        file.append(Header::new(9, seq, Cursor { row: 3, seq: 101 }), &[record(seq, None)]).unwrap();
        most = most.max(fs::read_to_string(place(&dir)).unwrap().lines().count());
    }
    assert!((EVENTS_KEPT + 1..=LINES_MAX).contains(&most), "{most} lines");
    let contents = file.read().unwrap();
    let last = 5 * EVENTS_KEPT as u64;
    assert_eq!((contents.last(), contents.records.last().unwrap().event.seq), (last, last));
    assert!(contents.records.len() >= EVENTS_KEPT);
    assert_eq!(contents.plane(), Cursor { row: 3, seq: 101 });
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something is left beside it");
}

#[test]
fn what_failed_half_way_is_cut_off_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (mut file, _) = EventFile::open(place(&dir));
    file.append(header(0), &records(1..=2)).unwrap();
    let mut disk = File::options().append(true).open(place(&dir)).unwrap();
    disk.write_all(b"{\"crc32\":\"0123").unwrap();
    file.append(header(3), &records(3..=3)).unwrap();
    let contents = file.read().unwrap();
    assert_eq!((seqs(&contents), contents.damaged), (vec![1, 2, 3], 0));
    // Shortened behind our back, or gone.
    fs::write(place(&dir), b"").unwrap();
    file.append(header(4), &records(4..=4)).unwrap();
    assert_eq!((seqs(&file.read().unwrap()), file.read().unwrap().header.unwrap().row), (vec![4], 9));
    fs::remove_file(place(&dir)).unwrap();
    file.append(header(5), &records(5..=5)).unwrap();
    assert_eq!(seqs(&file.read().unwrap()), [5]);
}

#[test]
fn another_format_is_not_guessed_at() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(place(&dir), line(&Header { weir_events: 2, ..header(5) }).unwrap()).unwrap();
    let (_, contents) = EventFile::open(place(&dir));
    let contents = contents.unwrap();
    assert_eq!((contents.header, contents.damaged), (None, 1));
}
