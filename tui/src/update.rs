//! What a message changes. Pure: the same state and message give the same state and effects.

use crate::keymap::Action;
use crate::message::{Effect, Message};
use crate::model::{App, HomeRow, Overlay, Question, RunView, Screen};
use drills::control::Command;
use drills::journal::Step;
use drills::report::model::Model;

/// Ticks between two looks at the list of runs.
const LIST_EVERY: u64 = 8;
/// Console lines that a page is.
const PAGE: usize = 5;

/// Take a message, change the state, say what is to be done.
pub fn update(app: &mut App, message: Message) -> Vec<Effect> {
    match message {
        Message::Do(action) => {
            app.told = None;
            press(app, action)
        }
        Message::Tick => tick(app),
        Message::Runs(runs) => {
            app.home.runs = runs;
            app.home.selected = app.home.selected.min(app.home.len().saturating_sub(1));
            Vec::new()
        }
        Message::Opened { dir, header } => {
            app.screen = Screen::Run(Box::new(RunView::new(dir, Model::new(header))));
            vec![Effect::Poll]
        }
        Message::Grown { dir, steps, alive } => grown(app, &dir, &steps, alive),
        Message::Console { dir, pointer, lines } => {
            if let Screen::Run(run) = &mut app.screen
                && run.dir == dir
                // News of a console that is no longer selected come too late.
                && run.selected_console().is_some_and(|now| now.artifact == pointer.artifact)
            {
                run.back = run.back.min(lines.len().saturating_sub(1));
                run.console = lines;
                run.console_of = Some(pointer);
            }
            Vec::new()
        }
        Message::Started(dir) => {
            app.told = Some(format!("Started in {}", dir.display()));
            vec![Effect::ListRuns, Effect::Open(dir)]
        }
        Message::Tell(text) => {
            app.told = Some(text);
            Vec::new()
        }
    }
}

fn tick(app: &mut App) -> Vec<Effect> {
    app.ticks = app.ticks.wrapping_add(1);
    match &app.screen {
        Screen::Home if app.ticks.is_multiple_of(LIST_EVERY) => vec![Effect::ListRuns],
        Screen::Home => Vec::new(),
        Screen::Run(run) if run.model.finished.is_some() => Vec::new(),
        Screen::Run(run) => {
            let mut effects = vec![Effect::Poll];
            effects.extend(console(run));
            effects
        }
    }
}

fn grown(app: &mut App, dir: &std::path::Path, steps: &[Step], alive: bool) -> Vec<Effect> {
    let Screen::Run(run) = &mut app.screen else { return Vec::new() };
    if run.dir != dir {
        return Vec::new();
    }
    run.alive = alive;
    for step in steps {
        match step {
            Step::Event(event) => run.model.apply(event),
            Step::Damage { line, why } => run.model.damaged(*line, why.clone()),
            Step::End { .. } => {}
        }
    }
    if run.follow {
        run.selected = run.interesting_row();
    }
    forget_other_console(run);
    let more = !matches!(steps.last(), Some(Step::End { .. }) | None);
    let mut effects: Vec<Effect> = console(run).into_iter().collect();
    if more {
        effects.push(Effect::Poll);
    }
    effects
}

/// When another console is selected, the lines of the one before must not stand under its ladder.
fn forget_other_console(run: &mut RunView) {
    let now = run.selected_console().map(|at| &at.artifact);
    if now != run.console_of.as_ref().map(|at| &at.artifact) {
        run.back = 0;
        run.console.clear();
        run.console_of = None;
    }
}

/// Read the console of what is selected.
fn console(run: &RunView) -> Option<Effect> {
    let pointer = run.selected_console()?.clone();
    Some(Effect::ReadConsole { dir: run.dir.clone(), pointer, live: run.model.finished.is_none() })
}

fn press(app: &mut App, action: Action) -> Vec<Effect> {
    if let Overlay::Ask(question) = app.over.clone() {
        return answer(app, question, action);
    }
    if app.over == Overlay::Help {
        if matches!(action, Action::Back | Action::Quit) {
            app.over = Overlay::None;
        }
        return Vec::new();
    }
    match action {
        Action::Help => app.over = Overlay::Help,
        Action::Quit => {
            let running = match &app.screen {
                Screen::Home => app.home.any_running(),
                Screen::Run(run) => run.live() || app.home.any_running(),
            };
            if running {
                app.over = Overlay::Ask(Question::Quit);
            } else {
                app.quit = true;
            }
        }
        Action::Back => {
            if matches!(app.screen, Screen::Run(_)) {
                app.screen = Screen::Home;
                return vec![Effect::Close, Effect::ListRuns];
            }
        }
        Action::Open => match app.home.row(app.home.selected) {
            Some(HomeRow::Scenario(path)) => app.over = Overlay::Ask(Question::Start(path.clone())),
            Some(HomeRow::Run(run)) => return vec![Effect::Open(run.dir.clone())],
            None => {}
        },
        _ => return press_in_list(app, action),
    }
    Vec::new()
}

fn press_in_list(app: &mut App, action: Action) -> Vec<Effect> {
    match &mut app.screen {
        Screen::Home => {
            let len = app.home.len();
            app.home.selected = moved(app.home.selected, len, action);
            Vec::new()
        }
        Screen::Run(run) => {
            match action {
                Action::Cancel => {
                    app.over = Overlay::Ask(Question::Cancel(run.dir.clone()));
                    return Vec::new();
                }
                Action::Follow => {
                    run.follow = !run.follow;
                    if run.follow {
                        run.back = 0;
                        run.selected = run.interesting_row();
                    }
                }
                Action::ConsoleUp => {
                    run.back = run.back.saturating_add(PAGE).min(run.console.len().saturating_sub(1));
                    return Vec::new();
                }
                Action::ConsoleDown => {
                    run.back = run.back.saturating_sub(PAGE);
                    return Vec::new();
                }
                _ => {
                    run.follow = false;
                    run.selected = moved(run.selected, run.rows().count(), action);
                }
            }
            forget_other_console(run);
            console(run).into_iter().collect()
        }
    }
}

fn moved(at: usize, len: usize, action: Action) -> usize {
    let last = len.saturating_sub(1);
    match action {
        Action::Down => at.saturating_add(1).min(last),
        Action::Up => at.saturating_sub(1),
        Action::First => 0,
        Action::Last => last,
        _ => at.min(last),
    }
}

fn answer(app: &mut App, question: Question, action: Action) -> Vec<Effect> {
    app.over = Overlay::None;
    match (action, question) {
        (Action::Yes, Question::Quit) => app.quit = true,
        (Action::Yes, Question::Cancel(dir)) => return vec![Effect::Send(dir, Command::Cancel)],
        (Action::Yes, Question::Start(path)) => return vec![Effect::Start(path)],
        _ => {}
    }
    Vec::new()
}
