//! Promise: a wrong document is refused whole; every mistake is found, at its place; nothing is applied.
//!
//! The documents are files in `tests/documents`. Each ends in comments that say what must be found:
//! `# expect LINE:COLUMN words`, with `*` for a place that does not matter; the words stand in message or help.

use std::path::PathBuf;
use std::process::Command;

use lb_core::spec::Mistake;
use weir_tests::binaries::{bin, root};
use weir_tests::client::get;
use weir_tests::stage::Stage;
use weir_tests::tools::output;

struct Broken {
    path: PathBuf,
    text: String,
    expected: Vec<Expected>,
}

struct Expected {
    line: Option<usize>,
    column: Option<usize>,
    words: String,
}

fn documents() -> Vec<Broken> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(root().join("tests/documents")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 20);
    paths.into_iter().map(broken).collect()
}

fn broken(path: PathBuf) -> Broken {
    let text = std::fs::read_to_string(&path).unwrap();
    let expected: Vec<Expected> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# expect "))
        .map(|line| {
            let (place, words) = line.split_once(' ').unwrap_or((line, ""));
            let (line, column) = place.split_once(':').unwrap_or((place, "*"));
            Expected { line: line.parse().ok(), column: column.parse().ok(), words: words.to_owned() }
        })
        .collect();
    assert!(!expected.is_empty(), "{} expects nothing", path.display());
    Broken { path, text, expected }
}

impl Broken {
    /// Every mistake expected and no other.
    fn compare(&self, found: &[Mistake]) {
        let name = self.path.file_name().unwrap().to_string_lossy();
        let shown: Vec<String> =
            found.iter().map(|m| format!("{}:{} {} | {:?}", m.line, m.column, m.message, m.help)).collect();
        assert_eq!(found.len(), self.expected.len(), "{name}: {shown:#?}");
        for (mistake, expected) in found.iter().zip(&self.expected) {
            let place = expected.line.is_none_or(|line| line == mistake.line)
                && expected.column.is_none_or(|column| column == mistake.column);
            let said = format!("{} {}", mistake.message, mistake.help.as_deref().unwrap_or_default());
            assert!(
                place && said.contains(&expected.words),
                "{name}: expected {:?}:{:?} {:?} in {shown:#?}",
                expected.line,
                expected.column,
                expected.words
            );
        }
    }
}

#[test]
fn check_finds_every_mistake_at_its_place() {
    for document in documents() {
        let output = output(Command::new(bin("lb-proxy")).arg("--check").arg("--config").arg(&document.path));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{}: {said}", document.path.display());
        for expected in &document.expected {
            if let (Some(line), Some(column)) = (expected.line, expected.column) {
                let place = format!("{}:{line}:{column}", document.path.display());
                assert!(said.contains(&place), "{place} is not in:\n{said}");
            }
            assert!(said.contains(&expected.words), "{:?} is not in:\n{said}", expected.words);
        }
        assert!(said.contains('^') || document.text.lines().count() == 1, "no caret:\n{said}");
    }
}

#[test]
fn none_of_them_starts() {
    for document in documents() {
        let output = output(Command::new(bin("lb-proxy")).arg("--config").arg(&document.path));
        assert_eq!(output.status.code(), Some(1), "{}", document.path.display());
    }
}

#[test]
fn none_of_them_changes_a_running_one() {
    let stage = Stage::http(1, |_| ());
    let before = stage.weir.control.document();
    for document in documents() {
        let refused = stage.weir.control.refused(&document.text);
        document.compare(&refused.mistakes);
        assert!(!refused.message.is_empty() && !refused.rendered.is_empty());
        assert_eq!(stage.weir.control.document(), before, "{} changed something", document.path.display());
    }
    assert_eq!(get(stage.vip(), "/").status(), 200);
}
