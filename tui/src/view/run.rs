//! One run: steps, the ladder of the selected boot, its console.

use super::{bold, console, dim, first_row, mark, paint, pane};
use crate::model::{RunView, TreeRow};
use drills::event::{How, Rung};
use drills::report::model::{Attempt, Boot, Status};
use drills::report::style::{Style as Look, amount, duration, say, shorten};
use drills::verdict::Outcome;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

/// Draw it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, look: Look, run: &RunView) {
    let [head, top, bottom] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(3), Constraint::Fill(2)]).areas(area);
    let [tree, boot] = Layout::horizontal([Constraint::Fill(5), Constraint::Fill(4)]).areas(top);
    heading(frame, head, look, run);
    steps(frame, tree, look, run);
    ladder(frame, boot, look, run);
    console::draw(frame, bottom, look, run);
}

fn heading(frame: &mut Frame<'_>, area: Rect, look: Look, run: &RunView) {
    let (span, word) = match run.status() {
        Some(Status::Done(outcome)) => (mark(look, Status::Done(outcome)), outcome.word().to_uppercase()),
        Some(Status::Running) => (mark(look, Status::Running), "running".to_owned()),
        None => (Span::styled("!", paint(look, Outcome::Broken)), "killed, or not listening".to_owned()),
    };
    let took = run.model.finished.as_ref().map_or(run.model.last_ms, |finished| finished.took_ms);
    let follow = if run.follow { "  (following)" } else { "" };
    let text = format!("   {} lab time{follow}", duration(took));
    let line = Line::from(vec![
        Span::raw(" "),
        span,
        Span::styled(format!(" {word}  "), bold()),
        Span::raw(say(look, &run.model.scenario.title)),
        Span::styled(text, dim(look)),
    ]);
    frame.render_widget(Paragraph::new(line), area);
}

fn steps(frame: &mut Frame<'_>, area: Rect, look: Look, run: &RunView) {
    let block = pane(look, "Steps");
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let height = usize::from(inside.height);
    let first = first_row(run.selected, run.rows().count(), height);
    let width = usize::from(inside.width);
    let lines: Vec<Line<'_>> = run
        .rows()
        .enumerate()
        .skip(first)
        .take(height)
        .map(|(at, row)| {
            let line = tree_line(look, run, row, width);
            if at == run.selected { line.style(Style::new().add_modifier(Modifier::REVERSED)) } else { line }
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), inside);
}

fn tree_line(look: Look, run: &RunView, row: TreeRow, width: usize) -> Line<'static> {
    let (indent, status, text, took, style) = match row {
        TreeRow::Step(index) => {
            let Some(step) = run.model.steps.get(index) else { return Line::default() };
            let took = duration(run.model.step_took_ms(step));
            ("", run.model.step_status(step), step.title.clone(), took, bold())
        }
        TreeRow::Action(index) => {
            let Some(action) = run.model.actions.get(index) else { return Line::default() };
            let took = match &action.ended {
                Some(ended) => duration(ended.took_ms),
                None => duration(run.model.last_ms.saturating_sub(action.started_ms)),
            };
            ("  ", run.model.action_status(action), action.label(), took, Style::new())
        }
    };
    let room = width
        .saturating_sub(indent.len())
        .saturating_sub(2)
        .saturating_sub(took.len().max(6))
        .saturating_sub(1);
    let text = shorten(look, &say(look, &text), room);
    // In a run that has ended or was killed nothing runs any more.
    let mark = match status {
        Status::Running if !run.live() => Span::styled("!", paint(look, Outcome::Broken)),
        status => mark(look, status),
    };
    Line::from(vec![
        Span::raw(indent),
        mark,
        Span::styled(format!(" {text:<room$} "), style),
        Span::styled(format!("{took:>6}"), dim(look)),
    ])
}

fn ladder(frame: &mut Frame<'_>, area: Rect, look: Look, run: &RunView) {
    let mut lines = Vec::new();
    let title = match run.selected_boot() {
        Some((name, boot)) => {
            boot_lines(look, boot, &mut lines);
            format!("{name}, start {}", boot.boot)
        }
        None => "No machine yet".to_owned(),
    };
    if let Some(action) = run.selected_action() {
        if let (None, Some(progress)) = (&action.ended, &action.progress) {
            let of = progress.total.map(|total| format!(" of {}", amount(total, &progress.unit)));
            let done = format!(
                "{}: {}{}",
                progress.what,
                amount(progress.done, &progress.unit),
                of.unwrap_or_default()
            );
            lines.push(Line::raw(say(look, &done)));
        }
        if let Some(ended) = &action.ended {
            lines.extend(ended.detail.lines().map(|line| Line::raw(say(look, line))));
            lines.extend(ended.next.iter().map(|next| Line::raw(format!("next: {}", say(look, next)))));
        }
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).block(pane(look, &title)), area);
}

/// The last attempt's rungs, the highest on top, as a ladder stands.
fn boot_lines(look: Look, boot: &Boot, lines: &mut Vec<Line<'static>>) {
    let dot = look.dot();
    let facts = format!("Gen{}{dot}{}{dot}{}", boot.generation, boot.firmware, boot.accelerator);
    lines.push(Line::styled(say(look, &facts), dim(look)));
    let attempt = boot.attempts.last();
    for rung in Rung::ALL.into_iter().rev() {
        lines.push(rung_line(look, rung, attempt));
    }
    let resets = boot.attempts.iter().filter_map(|attempt| attempt.reset.as_ref());
    for reset in resets.filter(|reset| !reset.expected) {
        let text = format!("reset at {}: {}", duration(reset.at_ms), reset.reason);
        lines.push(Line::styled(say(look, &text), paint(look, Outcome::Failed)));
    }
    if let Some(verdict) = boot.verdict.as_ref().filter(|verdict| verdict.outcome != Outcome::Passed) {
        let text = format!("{}: {}", verdict.outcome, verdict.cause);
        lines.push(Line::styled(say(look, &text), paint(look, verdict.outcome)));
        lines.extend(verdict.next.iter().map(|next| Line::raw(format!("next: {}", say(look, next)))));
    }
}

fn rung_line(look: Look, rung: Rung, attempt: Option<&Attempt>) -> Line<'static> {
    let reached = attempt.and_then(|attempt| attempt.rungs.iter().find(|reached| reached.rung == rung));
    let (glyph, style, text) = match reached {
        Some(reached) if reached.how == How::Observed => {
            (if look.ascii { "#" } else { "■" }, paint(look, Outcome::Passed), duration(reached.at_ms))
        }
        Some(reached) => {
            let text = format!("{} implied", duration(reached.at_ms));
            (if look.ascii { "=" } else { "□" }, paint(look, Outcome::Passed), text)
        }
        None => (if look.ascii { "." } else { "·" }, dim(look), String::new()),
    };
    Line::from(vec![Span::styled(format!("{glyph} "), style), Span::raw(format!("{rung:<9} {text}"))])
}
