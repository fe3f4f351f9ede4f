//! One table: which key does what where. The footer and the help are made from it.

use crate::model::{App, Overlay, Screen};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What a key can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// One row down.
    Down,
    /// One row up.
    Up,
    /// To the first row.
    First,
    /// To the last row.
    Last,
    /// Open a run, start a scenario.
    Open,
    /// One step back.
    Back,
    /// Leave.
    Quit,
    /// Cancel the run.
    Cancel,
    /// Follow what happens, or stay.
    Follow,
    /// Console: earlier lines.
    ConsoleUp,
    /// Console: later lines.
    ConsoleDown,
    /// All keys.
    Help,
    /// Yes.
    Yes,
    /// No.
    No,
}

/// Where a binding works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// On every screen, unless something lies over it.
    Screens,
    /// On the list of runs.
    Home,
    /// On a run.
    Run,
    /// On a run that goes on.
    LiveRun,
    /// When a question is asked.
    Question,
    /// When the help is shown.
    Help,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The keys.
    pub keys: &'static [KeyCode],
    /// What is printed for them.
    pub shown: &'static str,
    /// Where.
    pub at: Where,
    /// What.
    pub action: Action,
    /// One or two words for the footer; empty to leave it out.
    pub short: &'static str,
    /// A sentence for the help.
    pub long: &'static str,
}

use Action as A;
use KeyCode::{Char, Down, End, Enter, Esc, Home, PageDown, PageUp, Up};
use Where as W;

/// The table.
pub const KEYS: &[Binding] = &[
    key(&[Down, Char('j')], "j", W::Screens, A::Down, "down", "One row down"),
    key(&[Up, Char('k')], "k", W::Screens, A::Up, "up", "One row up"),
    key(&[Home, Char('g')], "g", W::Screens, A::First, "", "To the first row"),
    key(&[End, Char('G')], "G", W::Screens, A::Last, "", "To the last row"),
    key(&[Enter], "Enter", W::Home, A::Open, "open", "Open the run, or start the scenario"),
    key(&[PageUp], "PgUp", W::Run, A::ConsoleUp, "", "Earlier lines of the console"),
    key(&[PageDown], "PgDn", W::Run, A::ConsoleDown, "", "Later lines of the console"),
    key(&[Char('f')], "f", W::Run, A::Follow, "follow", "Follow what happens, or stay"),
    key(&[Char('c')], "c", W::LiveRun, A::Cancel, "cancel", "Cancel the run (asks)"),
    key(&[Esc], "Esc", W::Run, A::Back, "back", "Back to the list"),
    key(&[Char('?')], "?", W::Screens, A::Help, "help", "All keys"),
    key(&[Char('q')], "q", W::Screens, A::Quit, "quit", "Leave; a running drill goes on"),
    key(&[Char('y'), Enter], "y", W::Question, A::Yes, "yes", "Yes"),
    key(&[Char('n'), Esc, Char('q')], "n", W::Question, A::No, "no", "No"),
    key(&[Esc, Char('?'), Char('q'), Enter], "Esc", W::Help, A::Back, "close", "Close the help"),
];

const fn key(
    keys: &'static [KeyCode],
    shown: &'static str,
    at: Where,
    action: Action,
    short: &'static str,
    long: &'static str,
) -> Binding {
    Binding { keys, shown, at, action, short, long }
}

/// Whether a binding works now.
#[must_use]
pub fn works(at: Where, app: &App) -> bool {
    match (&app.over, at) {
        (Overlay::Ask(_), Where::Question) | (Overlay::Help, Where::Help) => true,
        (Overlay::None, Where::Screens) => true,
        (Overlay::None, Where::Home) => matches!(app.screen, Screen::Home),
        (Overlay::None, Where::Run) => matches!(app.screen, Screen::Run(_)),
        (Overlay::None, Where::LiveRun) => matches!(&app.screen, Screen::Run(run) if run.live()),
        _ => false,
    }
}

/// The bindings that work now.
pub fn now(app: &App) -> impl Iterator<Item = &'static Binding> + '_ {
    KEYS.iter().filter(|binding| works(binding.at, app))
}

/// What a key does now. Ctrl-C leaves like `q`.
#[must_use]
pub fn action(app: &App, event: &KeyEvent) -> Option<Action> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    if event.modifiers.contains(KeyModifiers::CONTROL) {
        let ask = matches!(app.over, Overlay::Ask(_));
        return (event.code == Char('c')).then_some(if ask { A::No } else { A::Quit });
    }
    now(app).find(|binding| binding.keys.contains(&event.code)).map(|binding| binding.action)
}
