//! Drawing. Only reads.

mod console;
mod help;
mod home;
mod run;

use crate::keymap;
use crate::model::{App, Overlay, Screen};
use drills::report::model::Status;
use drills::report::style::{Style as Look, say};
use drills::verdict::Outcome;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

/// Borders in ASCII.
const ASCII_BORDER: border::Set = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// The smallest screen that is drawn.
const SMALLEST: (u16, u16) = (40, 12);

/// Draw everything.
pub fn draw(frame: &mut Frame<'_>, area: Rect, app: &App) {
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("{} columns and {} rows are needed", SMALLEST.0, SMALLEST.1);
        frame.render_widget(Paragraph::new(text), area);
        return;
    }
    let [body, foot] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(area);
    match &app.screen {
        Screen::Home => home::draw(frame, body, app),
        Screen::Run(run) => run::draw(frame, body, app.style, run),
    }
    footer(frame, foot, app);
    match &app.over {
        Overlay::None => {}
        Overlay::Help => help::draw(frame, body, app),
        Overlay::Ask(question) => help::ask(frame, body, app, question),
    }
}

fn footer(frame: &mut Frame<'_>, area: Rect, app: &App) {
    if let Some(told) = &app.told {
        let text = format!(" {}", say(app.style, told));
        frame.render_widget(Paragraph::new(text).style(bold()), area);
        return;
    }
    let mut spans = vec![Span::raw(" ")];
    for binding in keymap::now(app).filter(|binding| !binding.short.is_empty()) {
        spans.push(Span::styled(binding.shown, bold()));
        spans.push(Span::raw(format!(" {}   ", binding.short)));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// A frame with a title.
fn pane(look: Look, title: &str) -> Block<'static> {
    let block = Block::bordered().title(Span::styled(format!(" {} ", say(look, title)), bold()));
    if look.ascii { block.border_set(ASCII_BORDER) } else { block.border_set(border::ROUNDED) }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn dim(look: Look) -> Style {
    if look.colour { Style::new().add_modifier(Modifier::DIM) } else { Style::new() }
}

/// The colour of an outcome; its mark and word carry the meaning.
fn paint(look: Look, outcome: Outcome) -> Style {
    if !look.colour {
        return if outcome == Outcome::Passed { Style::new() } else { bold() };
    }
    let colour = match outcome {
        Outcome::Passed => Color::Green,
        Outcome::Failed | Outcome::Refused => Color::Red,
        Outcome::Broken => Color::Magenta,
        Outcome::Changed | Outcome::NotPerformed | Outcome::Interrupted => Color::Yellow,
    };
    Style::new().fg(colour)
}

/// The mark of where something stands.
fn mark(look: Look, status: Status) -> Span<'static> {
    match status {
        Status::Running => Span::styled(look.running(), bold()),
        Status::Done(outcome) => Span::styled(look.mark(outcome), paint(look, outcome)),
    }
}

/// The first row to show, so that `selected` is seen with some room around it.
fn first_row(selected: usize, len: usize, height: usize) -> usize {
    let room = height / 4;
    let lowest = selected.saturating_add(room).saturating_add(1).saturating_sub(height);
    lowest.min(len.saturating_sub(height))
}
