//! Screens of recorded runs, at 80 × 24. Update is fed what the world would say; no terminal, no machine.

use drills::control::Command;
use drills::event::{ArtifactName, Pointer};
use drills::history;
use drills::journal::{Reader, Step};
use drills::report::console;
use drills::report::style::Style;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::path::{Path, PathBuf};
use tui::keymap::{self, KEYS};
use tui::message::{Effect, Message};
use tui::model::{App, Overlay, Screen};
use tui::update::update;
use tui::{Options, view};

const RUNS: &str = "../drills/tests/data/runs";
const PASSED: &str = "20261124-010203-web01";
const FAILED: &str = "20261124-021000-web01";
const KILLED: &str = "20261124-015000-db01";

fn app() -> App {
    let mut app = App::new(&Options {
        root: RUNS.into(),
        open: None,
        scenarios: vec!["drills/failover.rhai".into(), "drills/db.rhai".into()],
        style: Style { width: 80, ..Style::PLAIN },
    });
    let effects = update(&mut app, Message::Runs(history::runs(Path::new(RUNS)).unwrap()));
    assert_eq!(effects, []);
    app
}

fn dir(name: &str) -> PathBuf {
    Path::new(RUNS).join(name)
}

/// Do what the world does with a recorded run, with `alive` as if its socket answered. Effects are done last in, first
/// out, the other way round than the terminal's loop does them: no order may matter.
fn settle(app: &mut App, mut effects: Vec<Effect>, alive: bool) {
    let mut reader = None;
    while let Some(effect) = effects.pop() {
        let message = match effect {
            Effect::Open(dir) => {
                let opened = Reader::open(&dir).unwrap();
                let header = opened.header().clone();
                reader = Some(opened);
                Message::Opened { dir, header }
            }
            Effect::Poll => {
                let reader = reader.as_mut().unwrap();
                let mut steps = Vec::new();
                // Small batches: a view must not depend on how the journal arrives.
                while steps.len() < 7 && !matches!(steps.last(), Some(Step::End { .. })) {
                    steps.push(reader.next_step().unwrap());
                }
                Message::Grown { dir: reader.run_dir().to_owned(), steps, alive }
            }
            Effect::ReadConsole { dir, pointer, .. } => {
                let lines = console::tail_now(&dir, &pointer, 100);
                Message::Console { dir, pointer, lines }
            }
            _ => continue,
        };
        effects.extend(update(app, message));
    }
}

fn opened(name: &str, alive: bool) -> App {
    let mut app = app();
    settle(&mut app, vec![Effect::Open(dir(name))], alive);
    app
}

fn press(app: &mut App, code: KeyCode) -> Vec<Effect> {
    match keymap::action(app, &KeyEvent::new(code, KeyModifiers::NONE)) {
        Some(action) => update(app, Message::Do(action)),
        None => Vec::new(),
    }
}

fn screen_of(app: &App, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, frame.area(), app)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn home_lists_scenarios_and_runs() {
    insta::assert_snapshot!(screen_of(&app(), 80, 24));
}

#[test]
fn home_without_anything_says_what_to_do() {
    let mut app = app();
    app.home.scenarios.clear();
    update(&mut app, Message::Runs(Vec::new()));
    insta::assert_snapshot!(screen_of(&app, 80, 24));
}

#[test]
fn a_passing_run() {
    insta::assert_snapshot!(screen_of(&opened(PASSED, false), 80, 24));
}

#[test]
fn a_failing_run_shows_the_place_that_decided_it() {
    insta::assert_snapshot!(screen_of(&opened(FAILED, false), 80, 24));
}

#[test]
fn a_run_that_goes_on_in_ascii() {
    let mut app = opened(KILLED, true);
    app.style.ascii = true;
    let screen = screen_of(&app, 80, 24);
    assert!(screen.is_ascii(), "{screen}");
    insta::assert_snapshot!(screen);
}

#[test]
fn a_killed_run_at_a_larger_size() {
    insta::assert_snapshot!(screen_of(&opened(KILLED, false), 120, 32));
}

#[test]
fn the_help_lists_every_key() {
    let mut app = opened(PASSED, false);
    press(&mut app, KeyCode::Char('?'));
    let screen = screen_of(&app, 80, 24);
    for binding in KEYS.iter().filter(|one| matches!(one.at, keymap::Where::Screens | keymap::Where::Run)) {
        assert!(screen.contains(binding.long), "{}", binding.long);
    }
    insta::assert_snapshot!(screen);
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.over, Overlay::None);
}

#[test]
fn moving_selects_the_boot_and_its_console() {
    let mut app = opened(FAILED, false);
    let effects = press(&mut app, KeyCode::Char('g'));
    assert_eq!(effects, [], "before the first step no machine has started");
    for _ in 0..4 {
        press(&mut app, KeyCode::Char('j'));
    }
    let effects = press(&mut app, KeyCode::Down);
    settle(&mut app, effects, false);
    let screen = screen_of(&app, 80, 24);
    assert!(screen.contains("web/boot-1/console.log"), "{screen}");
    assert!(screen.contains("12.1 s"), "{screen}");
    assert!(!screen.contains("(following)"), "{screen}");
    let effects = press(&mut app, KeyCode::Char('f'));
    settle(&mut app, effects, false);
    assert!(screen_of(&app, 80, 24).contains("copy/boot-1/console.log"));
}

#[test]
fn the_console_scrolls_within_its_lines() {
    let mut app = opened(FAILED, false);
    for _ in 0..50 {
        press(&mut app, KeyCode::PageUp);
    }
    let screen = screen_of(&app, 80, 16);
    assert!(screen.contains("SeaBIOS (version"), "{screen}");
    assert!(!screen.contains("Kernel panic"), "{screen}");
    for _ in 0..50 {
        press(&mut app, KeyCode::PageDown);
    }
    let screen = screen_of(&app, 80, 16);
    assert!(screen.contains("Kernel panic - not syncing"), "{screen}");
    assert!(!screen.contains("SeaBIOS (version"), "{screen}");
}

#[test]
fn leaving_asks_only_while_a_drill_runs_and_never_ends_it() {
    let mut app = opened(PASSED, false);
    assert_eq!(press(&mut app, KeyCode::Char('q')), []);
    assert!(app.quit);

    let mut app = opened(KILLED, true);
    assert_eq!(press(&mut app, KeyCode::Char('q')), []);
    assert!(!app.quit);
    insta::assert_snapshot!(screen_of(&app, 80, 24));
    assert_eq!(press(&mut app, KeyCode::Char('n')), []);
    assert!(!app.quit);
    press(&mut app, KeyCode::Char('q'));
    assert_eq!(press(&mut app, KeyCode::Char('y')), [], "no command is sent");
    assert!(app.quit);
}

#[test]
fn cancel_asks_and_then_tells_the_run() {
    let mut app = opened(KILLED, true);
    assert_eq!(press(&mut app, KeyCode::Char('c')), []);
    assert_eq!(press(&mut app, KeyCode::Esc), [], "no");
    press(&mut app, KeyCode::Char('c'));
    assert_eq!(press(&mut app, KeyCode::Enter), [Effect::Send(dir(KILLED), Command::Cancel)]);

    let mut over = opened(KILLED, false);
    press(&mut over, KeyCode::Char('c'));
    assert_eq!(over.over, Overlay::None, "there is nothing to cancel");
}

#[test]
fn enter_opens_and_starts_and_esc_goes_back() {
    let mut app = app();
    assert_eq!(press(&mut app, KeyCode::Enter), []);
    assert_eq!(press(&mut app, KeyCode::Char('y')), [Effect::Start("drills/failover.rhai".into())]);
    let effects = update(&mut app, Message::Started(dir(PASSED)));
    assert!(effects.contains(&Effect::Open(dir(PASSED))));

    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Down);
    let effects = press(&mut app, KeyCode::Enter);
    assert_eq!(effects, [Effect::Open(dir(FAILED))]);
    settle(&mut app, effects, false);
    assert!(matches!(app.screen, Screen::Run(_)));
    assert_eq!(press(&mut app, KeyCode::Esc), [Effect::Close, Effect::ListRuns]);
    assert!(matches!(app.screen, Screen::Home));
    assert_eq!(app.home.selected, 2, "the list is where it was left");
}

#[test]
fn late_news_of_another_run_change_nothing() {
    let mut app = opened(PASSED, false);
    let before = screen_of(&app, 80, 24);
    let pointer = Pointer { artifact: ArtifactName::new("x").unwrap(), offset: 0, len: 1 };
    let late = Message::Console { dir: dir(FAILED), pointer, lines: vec!["late".into()] };
    assert_eq!(update(&mut app, late), []);
    let late = Message::Grown { dir: dir(FAILED), steps: Vec::new(), alive: true };
    assert_eq!(update(&mut app, late), []);
    assert_eq!(screen_of(&app, 80, 24), before);
}

#[test]
fn no_size_breaks_the_view() {
    for name in [PASSED, FAILED, KILLED] {
        let mut app = opened(name, true);
        for over in [false, true] {
            if over {
                press(&mut app, KeyCode::Char('?'));
            }
            for (width, height) in
                [(1, 1), (10, 3), (39, 11), (40, 12), (41, 13), (80, 24), (200, 60), (300, 5)]
            {
                screen_of(&app, width, height);
            }
        }
    }
    for size in [(1, 1), (40, 12), (200, 60)] {
        screen_of(&app(), size.0, size.1);
    }
}

#[test]
fn no_key_means_two_things_at_once() {
    for app in [app(), opened(PASSED, false), opened(KILLED, true)] {
        let mut seen = Vec::new();
        for binding in keymap::now(&app) {
            for key in binding.keys {
                assert!(!seen.contains(key), "{key:?} is bound twice");
                seen.push(*key);
            }
        }
    }
}
