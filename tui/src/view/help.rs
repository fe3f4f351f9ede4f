//! What lies over a screen: all keys, and questions.

use super::{bold, pane};
use crate::keymap::{KEYS, Where};
use crate::model::{App, Question};
use drills::report::style::say;
use ratatui::Frame;
use ratatui::layout::{Constraint, Flex, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Wrap};

/// All keys, from the table.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let mut lines = Vec::new();
    for (at, title) in [
        (Where::Screens, "Everywhere"),
        (Where::Home, "List"),
        (Where::Run, "Run"),
        (Where::LiveRun, "Run that goes on"),
    ] {
        lines.push(Line::styled(title, bold()));
        for binding in KEYS.iter().filter(|binding| binding.at == at) {
            lines.push(Line::from(vec![
                Span::styled(format!("  {:<7}", binding.shown), bold()),
                Span::raw(binding.long),
            ]));
        }
    }
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2);
    let area = middle(area, 56, height);
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(pane(app.style, "Keys")), area);
}

/// A question.
pub(super) fn ask(frame: &mut Frame<'_>, area: Rect, app: &App, question: &Question) {
    let area = middle(area, 60, 5);
    let text = format!("{}\n\ny yes   n no", say(app.style, &question.text()));
    frame.render_widget(Clear, area);
    let text = Paragraph::new(text).wrap(Wrap { trim: false });
    frame.render_widget(text.block(pane(app.style, "Question")), area);
}

fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let [area] = Layout::horizontal([Constraint::Length(width)]).flex(Flex::Center).areas(area);
    let [area] = Layout::vertical([Constraint::Length(height)]).flex(Flex::Center).areas(area);
    area
}
