//! Bars as SVG, with nothing but text: a group for each scenario, a bar for each proxy, a line from its least to its most
//! round. Each group has a scale of its own, since a large body takes a hundred times what a small one takes.

use std::fmt::Write as _;

use crate::summary::{Row, Spread, Summary};

const LEFT: f64 = 190.0;
const BAR: f64 = 16.0;
const GAP: f64 = 14.0;
const WIDTH: f64 = 520.0;
const TOP: f64 = 40.0;
/// For the figure behind a bar.
const RIGHT: f64 = 90.0;

/// Bars that belong together: whose, and how long.
pub type Group = (String, Vec<(String, Spread)>);

/// Draws what `pick` picks.
pub fn bars(title: &str, summaries: &[Summary], pick: fn(&Row) -> Option<Spread>) -> String {
    let group = |summary: &Summary| {
        let mark = if summary.unreadable.is_some() { " (unreadable)" } else { "" };
        let rows = summary.rows.iter().filter_map(|row| Some((row.name.clone(), pick(row)?)));
        (format!("{}{mark}", summary.name), rows.collect())
    };
    let played = summaries.iter().filter(|summary| summary.failed.is_none());
    chart(title, &played.map(group).collect::<Vec<_>>())
}

/// Draws groups of bars.
pub fn chart(title: &str, groups: &[Group]) -> String {
    let (mut body, mut y) = (String::new(), TOP);
    for (label, rows) in groups {
        let Some(most) = rows.iter().map(|(_, spread)| spread.max).max_by(f64::total_cmp).filter(|most| *most > 0.0)
        else {
            continue;
        };
        let _ = writeln!(body, "<text x='8' y='{}' font-weight='bold'>{label}</text>", y + 12.0);
        y += BAR + 2.0;
        for (name, spread) in rows {
            let scale = |value: f64| value / most * WIDTH;
            let middle = y + BAR / 2.0 - 1.0;
            let _ = writeln!(
                body,
                "<text x='{:.0}' y='{:.0}' text-anchor='end'>{name}</text>\n\
                 <rect x='{LEFT}' y='{y:.1}' width='{:.1}' height='{:.1}' fill='{}'/>\n\
                 <line x1='{:.1}' y1='{middle:.1}' x2='{:.1}' y2='{middle:.1}' stroke='#222' stroke-width='2'/>\n\
                 <text x='{:.1}' y='{:.0}'>{}</text>",
                LEFT - 8.0,
                y + 12.0,
                scale(spread.median),
                BAR - 2.0,
                color(name),
                LEFT + scale(spread.min),
                LEFT + scale(spread.max),
                LEFT + scale(spread.max) + 6.0,
                y + 12.0,
                figure(spread.median),
            );
            y += BAR;
        }
        y += GAP;
    }
    let width = LEFT + WIDTH + RIGHT;
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{y:.0}' viewBox='0 0 {width} {y:.0}' \
         font-family='sans-serif' font-size='12'>\n<rect width='100%' height='100%' fill='white'/>\n\
         <text x='8' y='22' font-size='15'>{title}</text>\n{body}</svg>\n"
    )
}

/// One column for each of `counts`, and a line where all would be if they were even.
pub fn columns(title: &str, counts: &[usize], even: f64) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let (height, each) = (200.0, (WIDTH + LEFT) / counts.len().max(1) as f64);
    let mut body = String::new();
    for (n, count) in counts.iter().enumerate() {
        let tall = *count as f64 / most * height;
        let (x, y) = (30.0 + n as f64 * each, TOP + height - tall);
        let wide = (each - 0.5).max(0.5);
        let _ = writeln!(body, "<rect x='{x:.1}' y='{y:.1}' width='{wide:.1}' height='{tall:.1}' fill='#4a7'/>");
    }
    let (line, right) = (TOP + height - even / most * height, 30.0 + WIDTH + LEFT);
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{0}' height='{1}' viewBox='0 0 {0} {1}' \
         font-family='sans-serif' font-size='12'>\n<rect width='100%' height='100%' fill='white'/>\n\
         <text x='8' y='22' font-size='15'>{title}</text>\n{body}\
         <line x1='30' y1='{line:.1}' x2='{right}' y2='{line:.1}' stroke='#222' stroke-dasharray='4 3'/>\n\
         <text x='{right}' y='{line:.1}'>{even:.0}</text></svg>\n",
        right + 40.0,
        TOP + height + 20.0,
    )
}

fn color(name: &str) -> &'static str {
    match name {
        "weir" => "#1b7f5c",
        "haproxy" => "#4a6fa5",
        "nginx" => "#8fb08c",
        "direct" => "#c9c9c9",
        _ => "#a58a4a",
    }
}

fn figure(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
