//! The table of threats in `SECURITY.md` names tests; each must exist, and each row must name some.

use std::collections::BTreeSet;
use std::path::Path;

use weir_tests::binaries::root;

/// Names of all functions below `folder`.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines() {
                let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("async ");
                if let Some(rest) = line.strip_prefix("fn ") {
                    found.insert(rest.split(['(', '<']).next().unwrap_or_default().to_owned());
                }
            }
        }
    }
}

#[test]
fn every_test_named_in_the_table_of_threats_exists() {
    let mut known = BTreeSet::new();
    for room in ["tests", "lb-core/src", "lb-proxy/src", "lb-agent/src", "lb-control/src", "lb-health/src"] {
        functions(&root().join(room), &mut known);
    }
    let page = std::fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let (Some(id), Some(held)) = (cells.first(), cells.last()) else { panic!("not a row: {line}") };
        assert!(cells.len() >= 3, "not a row: {line}");
        rows += 1;
        // Words in backquotes: files are told by their ends, the rest are tests.
        let words: Vec<&str> = held.split('`').skip(1).step_by(2).collect();
        let file = |word: &str| word.ends_with(".rs") || word.ends_with('/');
        for word in words.iter().filter(|word| !file(word)) {
            assert!(known.contains(*word), "{id} names `{word}`, and there is no such test");
        }
        for word in words.iter().filter(|word| word.contains('/')) {
            assert!(root().join(word).exists(), "{id} names `{word}`, and there is no such file");
        }
        let all = held.ends_with("all") || held.contains("all;");
        assert!(all || words.iter().any(|word| !file(word)), "{id} names no test");
    }
    let want: BTreeSet<String> = [("F", 17), ("L", 8), ("P", 7), ("S", 2), ("T", 8), ("B", 6), ("H", 13)]
        .iter()
        .flat_map(|(row, last)| (1..=*last).map(move |n| format!("{row}{n}")))
        .collect();
    let told: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|ids| ids.split(", ").map(str::to_owned))
        .collect();
    let missing: Vec<&String> = want.difference(&told).collect();
    assert!(missing.is_empty(), "SECURITY.md has no rows {missing:?}");
    assert!(rows >= 60, "{rows} rows");
}
