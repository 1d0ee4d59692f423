//! Promise: the house stays tidy. Each rule's message tells the better way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use weir_tests::binaries::root;

/// Files longer than this are usually two ideas.
const LINES_MAX: usize = 600;

fn rust_files() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for room in rooms() {
        collect(&root().join(room), &mut found);
    }
    assert!(found.len() > 30, "where have all the files gone?");
    found
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
        }
    }
}

fn manifest(folder: &str) -> String {
    std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap()
}

fn rooms() -> Vec<String> {
    let text = manifest(".");
    let members = text.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    members.split(',').map(|m| m.trim().trim_matches('"').to_owned()).filter(|m| !m.is_empty()).collect()
}

/// Names in a `[dependencies]`-like table, other than for tests.
fn dependencies(room: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest(room).lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies") && !line.contains("dev-dependencies");
        } else if inside && let Some((name, _)) = line.split_once(['.', '=', ' ']) {
            names.push(name.trim().to_owned());
        }
    }
    names.retain(|name| !name.is_empty() && !name.starts_with('#'));
    names
}

#[test]
fn arrows_go_one_way() {
    let allowed = BTreeMap::from([
        ("lb-core", vec![]),
        ("lb-control", vec!["lb-core"]),
        ("lb-health", vec!["lb-core"]),
        ("lb-haproxy", vec!["lb-core", "lb-control"]),
        ("lb-proxy", vec!["lb-core", "lb-control", "lb-health", "lb-haproxy"]),
        ("lb-agent", vec!["lb-core", "lb-control", "lb-haproxy"]),
    ]);
    for room in rooms() {
        let Some(allowed) = allowed.get(room.as_str()) else { continue };
        for dependency in dependencies(&room).iter().filter(|d| d.starts_with("lb-")) {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{room} depends on {dependency}: the arrow points the wrong way. Move what both need into lb-core, or \
                 hand it over as a value."
            );
        }
    }
}

/// Code without comments and without text in quotes: good enough to look for words.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(n, line)| {
        let line = line.split("//").next().unwrap_or_default();
        (!line.trim().is_empty()).then_some((n + 1, line))
    })
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word)
}

#[test]
fn unsafe_lives_in_one_room() {
    for (path, text) in rust_files() {
        if path.starts_with("lb-proxy/src/sys") {
            continue;
        }
        for (n, line) in code(&text) {
            assert!(
                !has_word(line, "unsafe") || line.contains('"'),
                "{}:{n}: unsafe outside lb-proxy/src/sys. Put a safe function with a SAFETY sentence there, or use a \
                 crate that has one (rustix, socket2).",
                path.display()
            );
        }
    }
}

#[test]
fn core_touches_no_world() {
    let banned = ["std::fs", "std::env", "std::thread", "std::process", "TcpStream", "UdpSocket", "tokio", "Instant"];
    for (path, text) in rust_files() {
        if !path.starts_with("lb-core/src") || path.components().any(|c| c.as_os_str() == "tests") {
            continue;
        }
        for (n, line) in code(&text) {
            if line.contains("#[cfg(test)]") {
                break;
            }
            for word in banned {
                assert!(
                    !line.contains(word),
                    "{}:{n}: {word} in lb-core, which decides and does nothing. Take the time, the bytes or the \
                     address as an argument.",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn no_test_is_ignored() {
    let mark = format!("#[{}", "ignore");
    for (path, text) in rust_files() {
        assert!(
            !text.lines().any(|line| line.trim_start().starts_with(&mark)),
            "{} ignores a test. Make it run, or let it return early and say why.",
            path.display()
        );
    }
}

#[test]
fn every_file_says_what_lives_in_it() {
    for (path, text) in rust_files() {
        assert!(
            text.starts_with("//! ") && text.lines().next().is_some_and(|line| line.len() > 12),
            "{} does not begin with a paragraph (`//! …`) that says what lives there.",
            path.display()
        );
    }
}

#[test]
fn files_are_one_idea_long() {
    for (path, text) in rust_files() {
        let long = text.lines().count() > LINES_MAX;
        let reason = text.lines().take(30).any(|line| line.contains("Long because"));
        assert!(
            !long || reason,
            "{} has more than {LINES_MAX} lines: it is probably two ideas. If not, say `Long because …` in its first \
             paragraph.",
            path.display()
        );
    }
}

#[test]
fn every_dependency_is_explained() {
    let text = manifest(".");
    let table = text.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names = table.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim());
    let page = std::fs::read_to_string(root().join("docs/DEPENDENCIES.md")).unwrap_or_default();
    let missing: Vec<&str> =
        names.filter(|name| !name.starts_with("lb-") && !page.contains(&format!("`{name}`"))).collect();
    assert!(
        missing.is_empty(),
        "docs/DEPENDENCIES.md does not say what these replace and why we do not write them: {missing:?}"
    );
}

#[test]
fn every_member_of_the_workspace_takes_the_lints() {
    for room in rooms() {
        assert!(
            manifest(&room).contains("[lints]\nworkspace = true"),
            "{room}/Cargo.toml lacks `[lints] workspace = true`."
        );
    }
}
