//! The list: scenarios to start, runs to look at.

use super::{bold, dim, first_row, mark, pane};
use crate::model::{App, HomeRow};
use drills::history::{Run, State};
use drills::report::model::Status;
use drills::report::style::{Style as Look, duration, say, shorten};
use drills::verdict::Outcome;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

/// Draw it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let title = format!("drill: {} scenarios, {} runs", app.home.scenarios.len(), app.home.runs.len());
    let block = pane(app.style, &title);
    let inside = block.inner(area);
    frame.render_widget(block, area);
    if app.home.is_empty() {
        let text = "No scenario and no run yet.\n\nIn another terminal:  drill run IMAGE.vhdx\nThe run appears here as soon as it begins.";
        frame.render_widget(Paragraph::new(text), inside);
        return;
    }
    let height = usize::from(inside.height);
    let first = first_row(app.home.selected, app.home.len(), height);
    let width = usize::from(inside.width);
    let lines: Vec<Line<'_>> = (first..app.home.len())
        .take(height)
        .filter_map(|at| app.home.row(at).map(|row| (at, row)))
        .map(|(at, row)| {
            let line = match row {
                HomeRow::Scenario(path) => {
                    let text = format!("start  {}", path.display());
                    Line::from(Span::raw(shorten(app.style, &say(app.style, &text), width)))
                }
                HomeRow::Run(run) => run_line(app.style, run, width),
            };
            let selected = at == app.home.selected;
            line.style(if selected { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() })
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), inside);
}

fn run_line(look: Look, run: &Run, width: usize) -> Line<'static> {
    let (status, word, took) = match &run.state {
        State::Finished { outcome, took_ms } => (Status::Done(*outcome), outcome.word(), duration(*took_ms)),
        State::Running => (Status::Running, "running", String::new()),
        State::Died => (Status::Done(Outcome::Broken), "killed", String::new()),
        State::Unreadable { .. } => (Status::Done(Outcome::Broken), "unreadable", String::new()),
    };
    let when = run.started.map_or_else(|| " ".repeat(11), |at| at.strftime("%m-%d %H:%M").to_string());
    let title = if run.scenario.title.is_empty() { &run.name } else { &run.scenario.title };
    let room = width.saturating_sub(45).max(10);
    let title = shorten(look, &say(look, title), room);
    Line::from(vec![
        mark(look, status),
        Span::styled(format!(" {word:<14}"), bold()),
        Span::raw(format!("{when}  ")),
        Span::styled(format!("{took:>12}  "), dim(look)),
        Span::raw(title),
    ])
}
