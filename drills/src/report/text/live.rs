//! The text report on a terminal or in a pipe, while the drill runs.

use super::{Lines, closing};
use crate::event::{Event, Header, Kind};
use crate::journal::{Clock, Sink};
use crate::report::model::Model;
use crate::report::style::{Style, amount, duration, say, shorten};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the moving line moves.
const TICK: Duration = Duration::from_millis(500);

/// A sink that writes the report as it grows. With `moving` a last line shows what is going on and for how long; it is
/// rewritten in place, so only a terminal gets it.
#[derive(Debug)]
pub struct Live {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    screen: Mutex<Screen>,
    wake: Condvar,
}

struct Screen {
    out: Box<dyn Write + Send>,
    style: Style,
    lines: Lines,
    model: Model,
    run_dir: PathBuf,
    clock: Clock,
    /// Whether the moving line stands on the terminal.
    drawn: bool,
    over: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Live {
    /// Write to `out`. `clock` is the recorder's, for the moving line.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, style: Style, moving: bool, clock: Clock) -> Self {
        let screen = Screen {
            out,
            style,
            lines: Lines::new(style),
            model: Model::default(),
            run_dir: PathBuf::new(),
            clock,
            drawn: false,
            over: false,
        };
        let shared = Arc::new(Shared { screen: Mutex::new(screen), wake: Condvar::new() });
        let ticker = moving.then(|| Arc::clone(&shared)).and_then(|shared| {
            // Without the thread the line only moves less often.
            std::thread::Builder::new().name("text".into()).spawn(move || tick(&shared)).ok()
        });
        Self { shared, ticker }
    }
}

fn tick(shared: &Shared) {
    let mut screen = shared.screen.lock().unwrap_or_else(PoisonError::into_inner);
    while !screen.over {
        screen.draw_moving();
        screen = shared.wake.wait_timeout(screen, TICK).unwrap_or_else(PoisonError::into_inner).0;
    }
    screen.erase();
}

impl Sink for Live {
    fn header(&mut self, header: &Header, run_dir: &Path) {
        let mut screen = self.shared.screen.lock().unwrap_or_else(PoisonError::into_inner);
        screen.model = Model::new(header.clone());
        screen.run_dir = run_dir.to_owned();
        let text = screen.lines.opening(header);
        screen.write(&text);
    }

    fn event(&mut self, event: &Event) {
        let mut screen = self.shared.screen.lock().unwrap_or_else(PoisonError::into_inner);
        let screen = &mut *screen;
        screen.model.apply(event);
        let mut text = screen.lines.event(event, &screen.model);
        if matches!(event.kind, Kind::RunFinished { .. }) {
            text.push_str(&closing(&screen.model, &screen.run_dir, screen.style));
            screen.over = true;
            self.shared.wake.notify_all();
        }
        screen.write(&text);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shared.screen.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.shared.wake.notify_all();
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
    }
}

impl Screen {
    /// A terminal that went away does not stop a drill: the journal has it all.
    fn write(&mut self, text: &str) {
        if !text.is_empty() {
            self.erase();
            let _ = self.out.write_all(text.as_bytes());
            let _ = self.out.flush();
        }
    }

    fn erase(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = self.out.write_all(b"\r\x1b[K");
            let _ = self.out.flush();
        }
    }

    fn draw_moving(&mut self) {
        let Some(action) = self.model.unfinished() else {
            return self.erase();
        };
        let now = (self.clock)();
        let mut text = format!(
            "  {} {}  {}",
            self.style.running(),
            action.label(),
            duration(now.saturating_sub(action.started_ms))
        );
        if let Some(progress) = &action.progress {
            let done = match progress.total {
                Some(total) if total > 0 => {
                    let percent = u128::from(progress.done.min(total)) * 100 / u128::from(total);
                    format!("{percent} % of {}", amount(total, &progress.unit))
                }
                _ => amount(progress.done, &progress.unit),
            };
            text.push_str(&format!("{}{} {done}", self.style.dot(), progress.what));
        }
        let text = shorten(self.style, &say(self.style, &text), self.style.width.saturating_sub(1));
        let text = format!("\r\x1b[K{}", self.style.dim(&text));
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
        self.drawn = true;
    }
}
