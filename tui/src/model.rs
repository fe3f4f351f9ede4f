//! All state of the view.

use crate::Options;
use drills::event::Pointer;
use drills::history::{Run, State};
use drills::report::model::{Action, Boot, Model, Status};
use drills::report::style::Style;
use std::path::PathBuf;

/// Everything.
#[derive(Clone, Debug)]
pub struct App {
    /// How it looks.
    pub style: Style,
    /// What is shown.
    pub screen: Screen,
    /// What lies over it.
    pub over: Overlay,
    /// The list of runs and scenarios; kept while a run is shown.
    pub home: Home,
    /// Something to tell, until the next key.
    pub told: Option<String>,
    /// The view ends.
    pub quit: bool,
    /// Ticks since the start; sets the pace of slow things.
    pub ticks: u64,
}

/// What is shown.
#[derive(Clone, Debug)]
pub enum Screen {
    /// Runs and scenarios.
    Home,
    /// One run.
    Run(Box<RunView>),
}

/// What lies over the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// Nothing.
    None,
    /// All keys.
    Help,
    /// A question; the answer is yes or no.
    Ask(Question),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Leave the view although drills run?
    Quit,
    /// Cancel the run in this folder?
    Cancel(PathBuf),
    /// Start this scenario?
    Start(PathBuf),
}

impl Question {
    /// The words.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Quit => "A drill is running. It goes on without this view. Leave?".to_owned(),
            Self::Cancel(_) => "Cancel this run? Its machines are stopped.".to_owned(),
            Self::Start(path) => format!("Start {}?", path.display()),
        }
    }
}

/// Runs and scenarios.
#[derive(Clone, Debug, Default)]
pub struct Home {
    /// Scenarios that can be started.
    pub scenarios: Vec<PathBuf>,
    /// Runs, newest first.
    pub runs: Vec<Run>,
    /// The selected row: scenarios first, then runs.
    pub selected: usize,
}

/// A row of the home screen.
#[derive(Clone, Copy, Debug)]
pub enum HomeRow<'a> {
    /// A scenario.
    Scenario(&'a PathBuf),
    /// A run.
    Run(&'a Run),
}

impl Home {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scenarios.len().saturating_add(self.runs.len())
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A row.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<HomeRow<'_>> {
        match self.scenarios.get(index) {
            Some(path) => Some(HomeRow::Scenario(path)),
            None => self.runs.get(index.checked_sub(self.scenarios.len())?).map(HomeRow::Run),
        }
    }

    /// Whether a run goes on.
    #[must_use]
    pub fn any_running(&self) -> bool {
        self.runs.iter().any(|run| run.state == State::Running)
    }
}

/// One run.
#[derive(Clone, Debug)]
pub struct RunView {
    /// Its folder.
    pub dir: PathBuf,
    /// All that is known of it.
    pub model: Model,
    /// Whether its control socket answers.
    pub alive: bool,
    /// Whether the selection follows what happens.
    pub follow: bool,
    /// The selected row of the tree.
    pub selected: usize,
    /// The console's last lines.
    pub console: Vec<String>,
    /// Which console that is.
    pub console_of: Option<Pointer>,
    /// How many lines the console is scrolled back.
    pub back: usize,
}

/// A row of the tree: indices into the run's steps and actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeRow {
    /// A step.
    Step(usize),
    /// An action.
    Action(usize),
}

impl RunView {
    /// A run of which nothing has been read yet.
    #[must_use]
    pub fn new(dir: PathBuf, model: Model) -> Self {
        Self {
            dir,
            model,
            alive: false,
            follow: true,
            selected: 0,
            console: Vec::new(),
            console_of: None,
            back: 0,
        }
    }

    /// The tree, top down.
    pub fn rows(&self) -> impl Iterator<Item = TreeRow> + '_ {
        self.model.steps.iter().enumerate().flat_map(|(index, step)| {
            std::iter::once(TreeRow::Step(index)).chain(step.actions.iter().copied().map(TreeRow::Action))
        })
    }

    /// Whether the run goes on.
    #[must_use]
    pub fn live(&self) -> bool {
        self.alive && self.model.finished.is_none()
    }

    /// The row that following selects: what runs now, else what decided the run, else the last action.
    #[must_use]
    pub fn interesting_row(&self) -> usize {
        let want = match self.model.unfinished().or_else(|| self.model.decisive().map(|one| one.action)) {
            Some(action) => self.model.actions.iter().position(|other| std::ptr::eq(other, action)),
            None => self.model.actions.len().checked_sub(1),
        };
        let rows = self.rows().enumerate();
        let at = want
            .and_then(|want| rows.filter(|(_, row)| *row == TreeRow::Action(want)).map(|(at, _)| at).next());
        at.unwrap_or_else(|| self.rows().count().saturating_sub(1))
    }

    /// The selected action; of a selected step its last one.
    #[must_use]
    pub fn selected_action(&self) -> Option<&Action> {
        match self.rows().nth(self.selected)? {
            TreeRow::Action(index) => self.model.actions.get(index),
            TreeRow::Step(index) => {
                let last = *self.model.steps.get(index)?.actions.last()?;
                self.model.actions.get(last)
            }
        }
    }

    /// The boot that belongs to the selected action, with its machine's name: the one it started or judged, else the
    /// one of its machine that had begun by its end, else the last that had begun.
    #[must_use]
    pub fn selected_boot(&self) -> Option<(&str, &Boot)> {
        let action = self.selected_action();
        let boots = || {
            self.model
                .machines
                .iter()
                .flat_map(|machine| machine.boots.iter().map(move |boot| (machine.name.as_str(), boot)))
        };
        let Some(action) = action else { return boots().last() };
        let of_action = |boot: &Boot| {
            boot.action == Some(action.id)
                || boot.verdict.as_ref().is_some_and(|verdict| verdict.action == Some(action.id))
        };
        let end =
            action.ended.as_ref().map_or(u64::MAX, |ended| action.started_ms.saturating_add(ended.took_ms));
        boots()
            .find(|(_, boot)| of_action(boot))
            .or_else(|| {
                boots()
                    .filter(|(name, boot)| action.machine.as_deref() == Some(*name) && boot.started_ms <= end)
                    .max_by_key(|(_, boot)| boot.started_ms)
            })
            .or_else(|| {
                boots().filter(|(_, boot)| boot.started_ms <= end).max_by_key(|(_, boot)| boot.started_ms)
            })
    }

    /// The console of the selected boot.
    #[must_use]
    pub fn selected_console(&self) -> Option<&Pointer> {
        self.selected_boot()?.1.console.as_ref()
    }

    /// Where the run stands.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self.model.outcome() {
            Some(outcome) => Some(Status::Done(outcome)),
            None if self.alive => Some(Status::Running),
            None => None,
        }
    }
}

impl App {
    /// At the start. The given run, if any, is opened by the first effect.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            style: options.style,
            screen: Screen::Home,
            over: Overlay::None,
            home: Home { scenarios: options.scenarios.clone(), ..Home::default() },
            told: None,
            quit: false,
            ticks: 0,
        }
    }
}
