//! Looking at a machine's screen: as text, as a picture, now and until something stands there.

use super::{MONITOR, Pictures, Vm, lock, why_gone};
use crate::process::Message;
use crate::qmp::QmpError;
use crate::screen::{self, Fonts, Screen, Shown, Watch};
use crate::time::{Cancel, Deadline};
use serde_json::json;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What became of a wait for text on the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// It stands there.
    Shown,
    /// The deadline passed; what the screen shows then.
    Late(Screen),
    /// QEMU is gone, or its monitor does not answer; its words.
    Gone(String),
    /// The wait was called off.
    Cancelled,
}

/// What became of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    /// It is there.
    Kept,
    /// It shows what must not be written, or may.
    Withheld,
}

impl Vm {
    /// What the screen shows now. What is new on it goes to the ladder, as at every look while waiting.
    ///
    /// # Errors
    /// QEMU refused or is gone.
    pub fn screen(&self, cancel: &Cancel) -> Result<Screen, QmpError> {
        self.look(cancel).map(|(screen, _)| screen)
    }

    /// The same, and how long it took; fonts are read once, which does not count.
    pub(super) fn look(&self, cancel: &Cancel) -> Result<(Screen, Duration), QmpError> {
        let began = Instant::now();
        let mut learning = Duration::ZERO;
        let (picture, memory) = self.dump(cancel)?;
        let fonts = || {
            let asked = Instant::now();
            let fonts = self.fonts();
            learning = asked.elapsed();
            fonts
        };
        let mut watch = lock(&self.watch);
        let read = || self.redactor.mask(screen::read(&picture, &memory, fonts)).0;
        let news = watch.look([&picture, &memory], read);
        let screen = watch.screen().cloned().unwrap_or(Screen::Unknown);
        drop(watch);
        if news.no_text {
            let _ = self.process.inbox.send(Message::NoText);
        }
        if !news.lines.is_empty() {
            let _ = self.process.inbox.send(Message::ScreenLines(news.lines));
        }
        if let Some(number) = news.shot.filter(|_| self.pictures == Pictures::Settled) {
            let file = format!("screen-{number}.png");
            if matches!(self.picture(&self.run_dir.join(&file), cancel), Ok(Picture::Kept)) {
                let text = matches!(screen, Screen::Text(_)).then(|| screen.to_string());
                let _ = self.process.inbox.send(Message::Shot { file, text });
            }
        }
        Ok((screen, began.elapsed().saturating_sub(learning)))
    }

    /// Waits until `text` stands on the screen.
    pub fn wait_screen(&self, text: &str, deadline: Deadline, cancel: &Cancel) -> Looked {
        let shared = &self.process.shared;
        loop {
            // Taken before the look: what is shown at the deadline counts.
            let late = deadline.passed();
            let (screen, took) = match self.look(cancel) {
                _ if cancel.is_cancelled() => return Looked::Cancelled,
                Ok((screen, _)) if screen.shows(text) == Shown::Yes => return Looked::Shown,
                Ok(looked) => looked,
                Err(error) => return Looked::Gone(why_gone(&self.process, &error.to_string())),
            };
            if late {
                return Looked::Late(screen);
            }
            let look_at = Instant::now() + Watch::pause(took);
            let mut state = shared.lock();
            while Instant::now() < look_at && !deadline.passed() && !cancel.is_cancelled() {
                state = shared.wait(state, deadline.tick());
            }
        }
    }

    /// The fonts its screen is read with; read when they are first needed.
    pub fn fonts(&self) -> &Fonts {
        self.fonts.get_or_init(|| self.font_cache.of(self.firmware_code.as_deref()))
    }

    /// QEMU's picture of the screen (PPM) and the VGA text memory behind it, as [`screen::read`] takes them.
    ///
    /// # Errors
    /// QEMU refused or is gone.
    pub fn dump(&self, cancel: &Cancel) -> Result<(Vec<u8>, Vec<u8>), QmpError> {
        let number = self.dumps.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| self.run_dir.join(format!(".screen-{number}.{kind}"));
        let (picture, memory) = (file("ppm"), file("text"));
        let deadline = Deadline::after(MONITOR);
        let text = json!({"val": screen::TEXT_MEMORY_AT, "size": screen::TEXT_MEMORY, "filename": memory});
        let shot = json!({"filename": picture, "format": "ppm"});
        let dumped = self
            .qmp
            .execute("pmemsave", text, deadline, cancel)
            .and_then(|_| self.qmp.execute("screendump", shot, deadline, cancel));
        let bytes = |path: &Path| std::fs::read(path).unwrap_or_default();
        let dumped = dumped.map(|_| (bytes(&picture), bytes(&memory)));
        for path in [&picture, &memory] {
            let _ = std::fs::remove_file(path);
        }
        dumped
    }

    /// Keeps the screen at `path`, a PNG, unless it shows what must not be written, or could: where there is anything to redact, a
    /// picture is kept only when every cell of its screen was read before and after it was made.
    ///
    /// # Errors
    /// QEMU refused (its words say why) or is gone.
    pub fn picture(&self, path: &Path, cancel: &Cancel) -> Result<Picture, QmpError> {
        if !self.redactor.is_active() {
            return self.screenshot(path, cancel).map(|()| Picture::Kept);
        }
        let harmless = || -> Result<bool, QmpError> {
            let (picture, memory) = self.dump(cancel)?;
            Ok(self.redactor.may_keep(&screen::read(&picture, &memory, || self.fonts())))
        };
        if harmless()? {
            self.screenshot(path, cancel)?;
            match harmless() {
                Ok(true) => return Ok(Picture::Kept),
                _ => drop(std::fs::remove_file(path)),
            }
        }
        self.withheld.fetch_add(1, Ordering::Relaxed);
        Ok(Picture::Withheld)
    }

    /// Pictures that were not kept because of what they show, or may show.
    pub fn withheld(&self) -> u64 {
        self.withheld.load(Ordering::Relaxed)
    }

    /// Writes the screen to `path`, a PNG, whatever it shows.
    ///
    /// # Errors
    /// QEMU refused (its words say why) or is gone.
    pub fn screenshot(&self, path: &Path, cancel: &Cancel) -> Result<(), QmpError> {
        let arguments = json!({"filename": path, "format": "png"});
        self.qmp.execute("screendump", arguments, Deadline::after(MONITOR), cancel).map(drop)
    }
}
