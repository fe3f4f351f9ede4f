//! The loop and the screen: taken at the start, given back at the end, after a panic and after a signal.

use crate::Options;
use crate::keymap;
use crate::message::{Effect, Message};
use crate::model::App;
use crate::update::update;
use crate::view;
use crate::world::{Hooks, World};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use signal_hook::consts::{SIGHUP, SIGTERM};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often the view looks for news.
const TICK: Duration = Duration::from_millis(250);

/// Why the view ended early.
#[derive(thiserror::Error, Debug)]
pub enum TuiError {
    /// There is no terminal, or it went away.
    #[error("the terminal cannot be used; `drill run` and `drill replay` need none")]
    Terminal(#[source] io::Error),
}

/// Show the view until the user leaves it, or SIGTERM or SIGHUP arrives. Running drills are not touched.
///
/// # Errors
/// When there is no terminal, or it goes away.
pub fn run(options: Options, hooks: Hooks) -> Result<(), TuiError> {
    let over = Arc::new(AtomicBool::new(false));
    let signals: Vec<_> = [SIGTERM, SIGHUP]
        .into_iter()
        .filter_map(|signal| signal_hook::flag::register(signal, Arc::clone(&over)).ok())
        .collect();
    // Also sets a panic hook that restores the screen before the panic's message is printed.
    let result = ratatui::try_init().and_then(|mut terminal| {
        let screen = Restore;
        let result = work(&mut terminal, &options, hooks, &over);
        drop(screen);
        result
    });
    for id in signals {
        signal_hook::low_level::unregister(id);
    }
    result.map_err(TuiError::Terminal)
}

/// Gives the screen back however the loop ends.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = ratatui::try_restore();
    }
}

fn work(
    terminal: &mut DefaultTerminal,
    options: &Options,
    hooks: Hooks,
    over: &AtomicBool,
) -> io::Result<()> {
    let mut app = App::new(options);
    let mut world = World::new(options.root.clone(), hooks);
    let mut effects: VecDeque<Effect> = VecDeque::from([Effect::ListRuns]);
    effects.extend(options.open.clone().map(Effect::Open));
    let mut next_tick = Instant::now();
    while !app.quit && !over.load(Ordering::Relaxed) {
        // One effect at a time, so that a long journal never keeps keys waiting.
        if let Some(effect) = effects.pop_front()
            && let Some(message) = world.perform(effect)
        {
            effects.extend(update(&mut app, message));
        }
        if effects.is_empty() || Instant::now() >= next_tick {
            terminal.draw(|frame| view::draw(frame, frame.area(), &app))?;
        }
        let wait = if effects.is_empty() {
            next_tick.saturating_duration_since(Instant::now())
        } else {
            Duration::ZERO
        };
        match event::poll(wait) {
            Ok(true) => {
                if let Event::Key(key) = event::read()?
                    && let Some(action) = keymap::action(&app, &key)
                {
                    effects.extend(update(&mut app, Message::Do(action)));
                }
            }
            Ok(false) => {}
            // A signal woke us: the loop's condition looks at it.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= next_tick {
            next_tick = Instant::now() + TICK;
            effects.extend(world.awaited());
            if !effects.contains(&Effect::Poll) {
                effects.extend(update(&mut app, Message::Tick));
            }
        }
    }
    Ok(())
}
