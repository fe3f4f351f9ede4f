//! The serial console: a window over the end of its file.

use super::pane;
use crate::model::RunView;
use drills::report::style::{Style as Look, say};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

/// Draw it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, look: Look, run: &RunView) {
    let title = match (&run.console_of, run.back) {
        (None, _) => "Console: nothing yet".to_owned(),
        (Some(at), 0) => format!("Console: {}", at.artifact),
        (Some(at), back) => format!("Console: {}, {back} lines back", at.artifact),
    };
    let block = pane(look, &title);
    let inside = block.inner(area);
    let height = usize::from(inside.height);
    // Scrolled back beyond the first line, the first page stays.
    let end = run.console.len().saturating_sub(run.back).max(height.min(run.console.len()));
    let start = end.saturating_sub(height);
    let lines = run.console.get(start..end).unwrap_or_default();
    let lines: Vec<Line<'_>> = lines.iter().map(|line| Line::raw(say(look, line))).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}
