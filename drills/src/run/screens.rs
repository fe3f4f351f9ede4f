//! What stands on the screen of a started machine: read, waited for, asserted, and kept as pictures.

use super::Run;
use super::actions::Action;
use super::boots::Boot;
use crate::event::{ArtifactName, EvidenceLevel, Kind, Pointer};
use crate::journal::Recorder;
use crate::script::stage::Done;
use crate::script::{VerbError, VerbOutcome as Outcome, VmId};
use qemu::ladder::Seen;
use qemu::{Cancel, Deadline, Looked, Observation, Picture, Screen, Shown};
use std::time::Duration;

/// Longest piece of a screen that a message quotes.
const QUOTED: usize = 600;

/// The event of a picture that was kept because the screen changed and stood still.
pub(super) fn kept(recorder: &Recorder, machine: &str, tag: &str, seen: &Observation) -> Option<Kind> {
    let Seen::Shot { file, text } = &seen.seen else { return None };
    let artifact = pointer(recorder, &format!("{tag}/{file}"));
    Some(Kind::Screen { machine: machine.to_owned(), text: text.clone(), artifact })
}

fn pointer(recorder: &Recorder, name: &str) -> Option<Pointer> {
    let len = std::fs::metadata(recorder.run_dir().join(name)).ok()?.len();
    let artifact = ArtifactName::new(name).ok()?;
    Some(Pointer { artifact, offset: 0, len })
}

impl Run {
    /// Keeps what the screen shows now, the last evidence of a boot that did not do what it must.
    pub(super) fn keep_screen(&self, action: &Action, boot: &Boot) {
        self.keep_screen_as(action, boot, "screen-last.png");
    }

    /// Keeps what the screen shows now: its text, and from evidence level `normal` on a picture, if that may be kept.
    pub(super) fn keep_screen_as(&self, action: &Action, boot: &Boot, file: &str) {
        let name = format!("{}-{}/{file}", boot.name, boot.number);
        let vm = boot.vm();
        let artifact = match self.evidence {
            EvidenceLevel::Minimal => None,
            EvidenceLevel::Normal | EvidenceLevel::Full => {
                let shot = vm.picture(&self.recorder.run_dir().join(&name), &Cancel::new());
                shot.ok().filter(|kept| *kept == Picture::Kept).and_then(|_| pointer(&self.recorder, &name))
            }
        };
        let text = match vm.screen(&Cancel::new()) {
            Ok(screen @ Screen::Text(_)) => Some(screen.to_string()),
            _ => None,
        };
        if artifact.is_some() || text.is_some() {
            self.recorder.emit(&action.path, Kind::Screen { machine: boot.name.clone(), text, artifact });
        }
    }

    pub(crate) fn screen_of(&self, vm: VmId) -> Done<(String, String)> {
        let boot = self.boot_of(vm)?;
        let screen = boot.vm().screen(&self.cancel).map_err(|e| unreachable(&e.to_string()))?;
        let detail = match &screen {
            Screen::Text(text) => {
                format!("text, {} lines", text.rows.iter().filter(|r| !r.is_empty()).count())
            }
            other => other.to_string(),
        };
        Ok((screen.to_string(), detail))
    }

    pub(crate) fn await_screen(
        &self,
        action: &Action,
        vm: VmId,
        text: &str,
        within: Duration,
    ) -> Done<((), String)> {
        let boot = self.boot_of(vm)?;
        let looked = boot.vm().wait_screen(text, Deadline::after(within), &self.cancel);
        let error = match looked {
            Looked::Shown => return Ok(((), "it stands on the screen".into())),
            Looked::Cancelled => {
                return Err(VerbError::new(Outcome::Interrupted, "the run was cancelled"));
            }
            Looked::Gone(why) => return Err(unreachable(&why)),
            Looked::Late(screen) => {
                self.not_shown(&boot, text, &screen, &format!("within {} s", within.as_secs()))
            }
        };
        self.keep_screen(action, &boot);
        Err(error)
    }

    pub(crate) fn judge_screen(&self, action: &Action, vm: VmId, text: &str) -> Done<((), String)> {
        let boot = self.boot_of(vm)?;
        let screen = boot.vm().screen(&self.cancel).map_err(|e| unreachable(&e.to_string()))?;
        if screen.shows(text) == Shown::Yes {
            return Ok(((), "it stands on the screen".into()));
        }
        self.keep_screen(action, &boot);
        Err(self.not_shown(&boot, text, &screen, "now"))
    }

    /// Failed when the screen was read and the text is not there; not performed when it could stand where nothing can be read.
    fn not_shown(&self, boot: &Boot, text: &str, screen: &Screen, when: &str) -> VerbError {
        // The bottom of a screen is what came last.
        let shown = screen.to_string();
        let skipped = shown.chars().count().saturating_sub(QUOTED);
        let cut: String = shown.chars().skip(skipped).collect();
        let more = if skipped == 0 { "" } else { "… " };
        let name = &boot.name;
        if screen.shows(text) == Shown::No {
            let message = format!("the screen of {name}, wanted “{text}” {when}, found:\n{more}{cut}");
            return VerbError::new(Outcome::Failed, message);
        }
        let message = format!(
            "whether “{text}” stands on the screen of {name} {when} cannot be told; what can be read:\n{more}{cut}"
        );
        let missing = boot.vm().fonts().missing().join("; ");
        let next = if missing.is_empty() {
            "look at the picture in the run folder; text is read in text mode, and in the fonts of UEFI, GRUB, Linux's console and \
             the VGA BIOS"
                .to_owned()
        } else {
            format!("look at the picture in the run folder; a font was not found: {missing}")
        };
        VerbError::new(Outcome::NotPerformed, message).with_next(next)
    }
}

fn unreachable(why: &str) -> VerbError {
    VerbError::new(Outcome::Broken, format!("QEMU did not give its screen: {why}"))
}
