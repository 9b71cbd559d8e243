//! Draws the view.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::app::{App, Mode, Usage};
use crate::escape::Form;
use crate::in_words::in_words;

/// The width from which permissions are shown beside the tree.
const WIDE: u16 = 100;

/// The width of the permissions.
const PERMS_WIDTH: u16 = 24;

/// The lines below the tree: the node, its permissions, its domain, and the keys or a message.
const FOOTER: u16 = 4;

pub(super) fn draw(app: &mut App, frame: &mut Frame<'_>) {
    let [header, tree, footer] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(FOOTER)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(heading(app)).style(reversed()), header);
    app.scroll(tree.height.into());
    let [nodes, perms] = match app.shows_perms || tree.width >= WIDE {
        true => {
            let widths = [Constraint::Min(1), Constraint::Length(PERMS_WIDTH.min(tree.width / 3))];
            Layout::horizontal(widths).areas(tree)
        }
        false => [tree, Rect { width: 0, ..tree }],
    };
    draw_rows(app, frame, nodes, perms);
    frame.render_widget(Paragraph::new(details(app)), footer);
    if let Mode::Filter(text) | Mode::Edit { text, .. } = &app.mode {
        let label = label(&app.mode);
        let column = (label.len() + text.chars().count()).min(usize::from(footer.width) - 1);
        frame.set_cursor_position((footer.x + column as u16, footer.bottom() - 1));
    }
}

fn heading(app: &mut App) -> String {
    let (total, domains) = app.stats.rates(Instant::now());
    let busiest: Vec<_> =
        domains.iter().take(3).map(|(domid, rate)| format!("domain {domid} {rate:.1}")).collect();
    let by_domain = match busiest.is_empty() {
        true => String::new(),
        false => format!(" ({})", busiest.join(", ")),
    };
    let nodes = app.model.len();
    format!(
        "xs top {}  {total:.1} events/s{by_domain}  {nodes} nodes read  {}",
        app.root, app.daemon
    )
}

fn draw_rows(app: &mut App, frame: &mut Frame<'_>, nodes: Rect, perms: Rect) {
    let now = Instant::now();
    let (offset, page) = (app.offset, usize::from(nodes.height));
    let rows = app.model.rows().iter().skip(offset).take(page).cloned();
    let rows: Vec<_> = rows.collect();
    for (at, row) in rows.iter().enumerate() {
        let is_marked = app.model.is_marked(&row.path, now);
        let style = match (row.path == app.selected, is_marked && app.has_color) {
            (true, _) => reversed(),
            (false, true) => Style::new().fg(Color::Yellow),
            (false, false) => Style::new(),
        };
        let y = nodes.y + at as u16;
        let entry = app.model.get(&row.path);
        let has_children = entry.is_some_and(|entry| !entry.children.is_empty());
        let sign = match (app.form, has_children, app.model.is_open(&row.path)) {
            (_, false, _) => " ",
            (Form::Utf8, true, true) => "▾",
            (Form::Utf8, true, false) => "▸",
            (Form::Ascii, true, true) => "-",
            (Form::Ascii, true, false) => "+",
        };
        let name = match row.depth {
            0 => row.path.as_str(),
            _ => row.path.rsplit('/').next().unwrap_or_default(),
        };
        let mark = if is_marked { "*" } else { " " };
        let indent = "  ".repeat(row.depth);
        let mut line = vec![
            Span::raw(format!("{mark}{indent}{sign} ")),
            Span::styled(name, bold(has_children)),
        ];
        match entry.map(|entry| &entry.value) {
            Some(Ok(value)) if !value.is_empty() => {
                line.push(Span::raw(format!(" = \"{}\"", app.form.text(value))));
            }
            Some(Err(error)) => line.push(Span::raw(format!(" ({error})"))),
            _ => {}
        }
        let area = Rect { y, height: 1, ..nodes };
        frame.render_widget(Paragraph::new(Line::from(line)).style(style), area);
        if let Some(list) = entry.and_then(|entry| entry.perms.as_ref()).filter(|_| perms.width > 0)
        {
            let area = Rect { y, height: 1, ..perms };
            frame.render_widget(Paragraph::new(format!(" {list}")).style(style), area);
        }
    }
}

fn details(app: &App) -> Vec<Line<'static>> {
    let entry = app.model.get(&app.selected);
    let node = match entry.map(|entry| &entry.value) {
        Some(Ok(value)) => format!("{} = \"{}\"", app.selected, app.form.text(value)),
        Some(Err(error)) => error.clone(),
        None => app.selected.clone(),
    };
    let perms = entry.and_then(|entry| entry.perms.as_ref()).map(in_words).unwrap_or_default();
    let usage = app.usage.as_ref().map(usage_text).unwrap_or_default();
    let last = match &app.mode {
        Mode::Filter(text) | Mode::Edit { text, .. } => format!("{}{text}", label(&app.mode)),
        Mode::Browse if !app.status.is_empty() => app.status.clone(),
        Mode::Browse if !app.model.filter().is_empty() => {
            format!("filter: {}   / change   Esc show all   q quit", app.model.filter())
        }
        Mode::Browse => {
            "arrows move, open, close   / filter   e edit   p permissions   r reload   q quit"
                .to_owned()
        }
    };
    vec![Line::styled(node, bold(true)), Line::raw(perms), Line::raw(usage), Line::raw(last)]
}

fn label(mode: &Mode) -> &'static str {
    match mode {
        Mode::Filter(_) => "filter: ",
        Mode::Edit { .. } => "new value: ",
        Mode::Browse => "",
    }
}

/// Returns the use of a domain's quotas as text, for the quotas whose use the daemon reports.
fn usage_text(usage: &Usage) -> String {
    let shown = ["nodes", "watches", "transactions", "outstanding", "memory"];
    let text = |name: &&str| {
        let value = |numbers: &[crate::quotas::Number]| {
            numbers.iter().find(|number| number.name == **name).map(|number| number.value)
        };
        let used = value(&usage.used)?;
        Some(match value(&usage.limits) {
            Some(limit) => format!("{name} {used}/{limit}"),
            None => format!("{name} {used}"),
        })
    };
    let parts: Vec<_> = shown.iter().filter_map(text).collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!("domain {}: {}", usage.domid, parts.join("  ")),
    }
}

fn reversed() -> Style {
    Style::new().add_modifier(Modifier::REVERSED)
}

fn bold(is_bold: bool) -> Style {
    if is_bold { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() }
}
