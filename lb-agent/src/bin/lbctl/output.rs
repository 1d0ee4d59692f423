//! How results are written: a table for people, JSON or YAML for programs.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

/// Chosen with `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

/// What is wrong has been told already.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
pub(crate) struct Told;

/// Writes `value` as `format` says; as a table it is what `table` makes of it.
pub(crate) fn value<T: Serialize>(format: Format, value: &T, table: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    match format {
        Format::Table => text(&table(value)),
        Format::Json => json(value),
        Format::Yaml => yaml(value),
    }
}

/// Writes JSON, indented.
pub(crate) fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    text(&serde_json::to_string_pretty(value)?)
}

/// Writes YAML.
pub(crate) fn yaml<T: Serialize>(value: &T) -> anyhow::Result<()> {
    // By way of JSON's model, so that both show the same.
    text(&serde_saphyr::to_string(&serde_json::to_value(value)?)?)
}

/// Writes text and a final newline.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

/// Milliseconds since 1970, as events and states tell them.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// Columns as wide as their widest cell; numbers to the right.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let is_number = |cell: &str| !cell.is_empty() && cell.bytes().all(|b| b.is_ascii_digit());
    let line = |cells: &[String]| {
        let cells = cells.iter().enumerate().map(|(i, cell)| {
            let width = width(i);
            if is_number(cell) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let cells: Vec<String> = cells.collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    let head: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    std::iter::once(line(&head)).chain(rows.iter().map(|row| line(row))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["web".into(), "7".into()], vec!["a-long-name".into(), "1234".into()]];
        let drawn = table(&["NAME", "PID"], &rows);
        assert_eq!(drawn, "NAME         PID\nweb             7\na-long-name  1234\n");
    }

    /// What `get` prints can be applied again, whatever its words look like.
    #[test]
    fn yaml_is_read_back_the_same() {
        for name in
            ["web", "true", "0x10", "", "a: b", "- x", "ünï 'q' \"d\"", "# no", "~", "1e3", "two\nlines", " pad "]
        {
            let value = serde_json::json!({"loadbalancer": {"name": name, "tags": [name, ""], "empty": []}});
            let text = serde_saphyr::to_string(&value).unwrap();
            let back: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(back, value, "{text}");
        }
    }
}
