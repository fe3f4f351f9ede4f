//! Asking a started machine by its agent and its keyboard, and the marker that a guest writes by itself.

use super::Run;
use super::actions::{Action, lock};
use super::boots::Boot;
use super::machines::Writes;
use crate::event::Kind;
use crate::script::stage::{Done, StartOptions};
use crate::script::{MachineId, VerbError, VerbOutcome as Outcome, VmId};
use engine::guest::Guest;
use qemu::credential::{SINCE_SYSTEMD, file_credential};
use qemu::{AskError, Deadline, GuestOs};
use std::path::Path;
use std::time::Duration;

/// How long the agent may take to answer a question.
const ANSWER: Duration = Duration::from_secs(30);
/// How long file systems may take to freeze or thaw: what is dirty is written first.
const FREEZE: Duration = Duration::from_secs(120);
/// Longest file that is read from a running guest, bytes.
const MAX_FILE: usize = 1 << 20;
/// Where a guest writes its marker.
const MARKER: &str = "/var/lib/drill-marker";
/// Folders in which `libsystemd-shared-252.so` tells systemd's version; distributions differ.
const SYSTEMD: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/systemd",
    "/lib/x86_64-linux-gnu/systemd",
    "/usr/lib/systemd",
    "/lib/systemd",
    "/usr/lib64/systemd",
];

impl Run {
    pub(crate) fn press(&self, vm: VmId, chords: &[Vec<String>]) -> Done<((), String)> {
        let boot = self.boot_of(vm)?;
        let pressed = boot.vm().press(chords, &self.cancel);
        pressed
            .map_err(|e| VerbError::new(Outcome::Broken, format!("the keyboard of {}: {e}", boot.name)))?;
        Ok(((), String::new()))
    }

    pub(crate) fn await_agent(&self, action: &Action, vm: VmId, within: Duration) -> Done<((), String)> {
        let boot = self.boot_of(vm)?;
        let answered = boot.vm().wait_agent(Deadline::after(within), &self.cancel);
        match answered {
            Ok(()) => Ok(((), "it answers".into())),
            Err(error) => {
                self.keep_screen(action, &boot);
                let message = format!("{}: {error} within {} s", boot.name, within.as_secs());
                Err(VerbError::new(Outcome::Failed, message)
                    .with_next("is qemu-guest-agent installed and enabled in the guest?"))
            }
        }
    }

    pub(crate) fn agent_answers(&self, vm: VmId) -> Done<(bool, String)> {
        let boot = self.boot_of(vm)?;
        let there = boot.vm().wait_agent(Deadline::after(Duration::ZERO), &self.cancel).is_ok();
        Ok((there, if there { "it answers" } else { "it does not answer" }.into()))
    }

    pub(crate) fn guest_os(&self, vm: VmId) -> Done<(GuestOs, String)> {
        let boot = self.boot_of(vm)?;
        let os = boot.vm().guest_os(Deadline::after(ANSWER), &self.cancel);
        let os = os.map_err(|e| unanswered(&boot, "what runs in it", &e))?;
        let detail = format!("{}, kernel {}", os.name, os.kernel);
        Ok((os, detail))
    }

    pub(crate) fn guest_file(&self, vm: VmId, path: &str) -> Done<(String, String)> {
        let boot = self.boot_of(vm)?;
        let read = boot.vm().guest_file(path, MAX_FILE, Deadline::after(ANSWER), &self.cancel);
        match read {
            Ok((bytes, true)) => match String::from_utf8(bytes) {
                Ok(text) => {
                    let detail = format!("{} bytes", text.len());
                    Ok((self.recorder.redactor().text(&text), detail))
                }
                Err(_) => Err(VerbError::new(
                    Outcome::NotPerformed,
                    format!("{path} in {}: it is not text", boot.name),
                )
                .with_next("compare it on the stopped disk: assert_file")),
            },
            Ok((_, false)) => Err(VerbError::new(
                Outcome::NotPerformed,
                format!("{path} in {}: it is longer than {MAX_FILE} bytes", boot.name),
            )),
            Err(AskError::Refused(why)) => {
                Err(VerbError::new(Outcome::Failed, format!("{path} in {}: {why}", boot.name)))
            }
            Err(error) => Err(unanswered(&boot, path, &error)),
        }
    }

    pub(crate) fn freeze_guest(&self, vm: VmId) -> Done<((), String)> {
        let boot = self.boot_of(vm)?;
        let frozen = boot.vm().freeze(Deadline::after(FREEZE), &self.cancel);
        match frozen {
            Ok(0) => {
                Err(VerbError::new(Outcome::Failed, format!("{}: no file system was frozen", boot.name)))
            }
            Ok(many) => Ok(((), format!("{many} file systems"))),
            Err(AskError::Refused(why)) => {
                Err(VerbError::new(Outcome::Failed, format!("{} could not be frozen: {why}", boot.name)))
            }
            Err(error) => Err(unanswered(&boot, "its file systems", &error)),
        }
    }

    pub(crate) fn thaw_guest(&self, vm: VmId) -> Done<((), String)> {
        let boot = self.boot_of(vm)?;
        let thawed = boot.vm().thaw(Deadline::after(FREEZE), &self.cancel);
        match thawed {
            Ok(many) => Ok(((), format!("{many} file systems"))),
            Err(AskError::Refused(why)) => {
                Err(VerbError::new(Outcome::Failed, format!("{} could not be thawed: {why}", boot.name)))
            }
            Err(error) => Err(unanswered(&boot, "its file systems", &error)),
        }
    }

    /// The OEM string by which the guest writes the marker that was asked for.
    pub(crate) fn marker(&self, options: &StartOptions) -> Done<Option<String>> {
        let Some(text) = &options.marker else { return Ok(None) };
        match file_credential(MARKER, text) {
            Some(credential) => Ok(Some(credential)),
            None => Err(VerbError::new(Outcome::Broken, "the marker's text cannot be written as it is")),
        }
    }

    pub(crate) fn judge_marker(&self, id: MachineId, name: &str, text: &str) -> Done<((), String)> {
        let machine = self.machine_of(id)?;
        if machine.writes == Writes::Dropped {
            let message = format!(
                "{MARKER} on {name}: what the guest of a given image writes is thrown away when it stops"
            );
            return Err(VerbError::new(Outcome::NotPerformed, message)
                .with_next("start a copy with a marker: test_failover(), plant(…)"));
        }
        match self.file_of(id, Path::new(MARKER))? {
            Some(found) if found.trim_ascii_end() == text.as_bytes() => {
                Ok(((), format!("{MARKER}, {} bytes", found.len())))
            }
            Some(found) => Err(VerbError::new(
                Outcome::Failed,
                format!("{MARKER} on {name}: wanted {text:?}, found {}", self.quoted(&found)),
            )),
            None => {
                let version = systemd_of(&self.look(name, &machine.now()?)?);
                let why = match version {
                    Systemd::None => "the guest has no systemd, which would have written it".to_owned(),
                    Systemd::Version(old) if old < SINCE_SYSTEMD => {
                        format!(
                            "the guest has systemd {old}, which reads no credentials from the firmware; {SINCE_SYSTEMD} does"
                        )
                    }
                    Systemd::Version(_) | Systemd::Unknown => {
                        let message = format!(
                            "{MARKER} on {name}: no such file; the guest did not come so far that it wrote it"
                        );
                        let next = "was it started with #{ marker: … }, and waited for? systemd-tmpfiles-setup.service writes it";
                        return Err(VerbError::new(Outcome::Failed, message).with_next(next));
                    }
                };
                let next =
                    "write a marker with run(\"…\"), or look for one of the guest's own with assert_file";
                Err(VerbError::new(Outcome::NotPerformed, format!("{MARKER} on {name}: {why}"))
                    .with_next(next))
            }
        }
    }

    /// A remark under an action.
    pub(crate) fn note_under(&self, action: &Action, text: &str) {
        self.recorder.emit(&action.path, Kind::Note { text: text.into() });
    }

    /// Says how many pictures of each boot were not kept.
    pub(crate) fn note_withheld(&self) {
        let boots = lock(&self.machines).boots.clone();
        for boot in boots {
            let withheld = boot.vm().withheld();
            if withheld == 0 {
                continue;
            }
            self.say(&format!(
                "{} start {}: {withheld} pictures of its screen were not kept, because they show what is redacted, or could not be read whole",
                boot.name, boot.number
            ));
        }
    }
}

/// Which systemd a guest has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Systemd {
    None,
    Version(u32),
    Unknown,
}

fn systemd_of(guest: &Guest) -> Systemd {
    let mut there = Systemd::None;
    for folder in SYSTEMD {
        let Ok(Some(names)) = super::files::names(guest, folder) else { continue };
        there = Systemd::Unknown;
        let version = names.iter().find_map(|name| {
            let rest = name.strip_prefix("libsystemd-shared-")?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        });
        if let Some(version) = version {
            return Systemd::Version(version);
        }
    }
    there
}

/// The agent gave no answer: nothing is known. It being called off is the run's end.
fn unanswered(boot: &Boot, what: &str, error: &AskError) -> VerbError {
    let outcome = if *error == AskError::Cancelled { Outcome::Interrupted } else { Outcome::NotPerformed };
    VerbError::new(outcome, format!("{what} of {}: {error}", boot.name))
        .with_next("install qemu-guest-agent in the guest, and wait for it: wait_agent(2.minutes)")
}
