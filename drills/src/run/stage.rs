//! The verbs of a scenario, performed.

use super::Run;
use super::actions::{Action, lock};
use super::machines::{Role, Writes};
use crate::event::Kind;
use crate::script::stage::{
    Done, ExitPolicy, FailbackPlan, FailoverOptions, Image, Policy, RunOutput, StartOptions, Table, Words,
};
use crate::script::{Header, MachineId, Pos, Stage, VerbError, VerbOutcome as Outcome, VmId};
use engine::convert::{Gen1Options, TableChoice};
use engine::disk::DiskRef;
use engine::guest::{Guest, Inspection};
use engine::preflight::ProfileId;
use qemu::Expect;
use std::path::Path;
use std::time::Duration;

/// Longest file that `assert_file` reads.
const MAX_FILE: u64 = 1 << 20;
/// Longest piece of a file that a message quotes.
const QUOTED: usize = 200;

impl Stage for Run {
    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn secret(&self, name: &str) -> Option<Words> {
        self.lab.secrets.get(name).map(|value| Words::secret(name, value))
    }

    fn redact(&self, pattern: &str) -> Result<(), String> {
        self.recorder.redactor().pattern(pattern).map_err(|e| e.to_string())
    }

    fn note(&self, text: &str, _pos: Option<Pos>) {
        self.say(text);
    }

    fn drill(&self, _header: &Header, _pos: Pos) -> Done {
        Ok(())
    }

    fn step(&self, title: &str, _pos: Pos) -> Done {
        if self.cancel.is_cancelled() {
            return Err(VerbError::new(Outcome::Interrupted, "the run was cancelled"));
        }
        self.heading(title);
        Ok(())
    }

    fn begin_repeat(&self, title: &str, pos: Pos) -> Done {
        self.step(title, pos)?;
        self.repeat_begins();
        Ok(())
    }

    fn begin_attempt(&self, policy: &Policy, attempt: u32) {
        self.attempt_begins(policy, attempt);
    }

    fn end_attempt(&self, attempt: u32, failure: Option<&VerbError>) {
        self.attempt_ends(attempt, failure);
    }

    fn end_repeat(&self, title: &str, policy: &Policy, passed: u32, failed: u32) -> Done {
        self.repeat_ends(title, policy, passed, failed)
    }

    fn machine(&self, image: &Image, pos: Pos) -> Done<MachineId> {
        match image {
            Image::Path(path) => self.act("machine", None, path.display().to_string(), Some(pos), |action| {
                self.open_machine(action, path, None)
            }),
            Image::Fixture(name) => {
                self.act("machine", None, format!("fixture {name}"), Some(pos), |action| {
                    let mut say = |line: &str| self.say(line);
                    let path = (self.lab.fixtures)(name, &mut say, &self.cancel)?;
                    self.open_machine(action, &path, Some(name))
                })
            }
        }
    }

    fn start(&self, machine: MachineId, options: &StartOptions, pos: Pos) -> Done<VmId> {
        let name = self.name_of(machine);
        let secure_boot =
            options.secure_boot.map(|on| if on { "secure boot enforced" } else { "secure boot off" });
        let words = secure_boot.into_iter().chain(options.tpm.then_some("TPM"));
        let args = words.collect::<Vec<_>>().join(", ");
        self.act("start", Some(&name), args, Some(pos), |action| self.start_machine(action, machine, options))
    }

    fn wait_ready(&self, vm: VmId, within: Duration, pos: Pos) -> Done {
        let name = self.boot_of(vm)?.name.clone();
        self.act("wait_ready", Some(&name), format!("within {} s", within.as_secs()), Some(pos), |action| {
            self.await_ready(action, vm, &Expect::Ready, within)
        })?;
        let boot = self.boot_of(vm)?;
        let machine = self.machine_of(boot.machine)?;
        let (role, firmware) = match machine.role {
            Role::Source if machine.generation == qemu::Generation::Gen1 => ("the source starts", "BIOS"),
            Role::Source => ("the source starts", "UEFI"),
            Role::Copy => ("the Generation 1 copy starts", "BIOS"),
            Role::Home => ("what came home starts", "UEFI with an empty variable store"),
        };
        self.proved(format!("{role} under {firmware} ({})", machine.name));
        Ok(())
    }

    fn wait_text(&self, vm: VmId, text: &str, within: Duration, pos: Pos) -> Done {
        let name = self.boot_of(vm)?.name.clone();
        self.act(
            "wait_text",
            Some(&name),
            format!("“{text}”, within {} s", within.as_secs()),
            Some(pos),
            |a| self.await_ready(a, vm, &Expect::Text(text.to_owned()), within),
        )
    }

    fn check_text(&self, vm: VmId, text: &str, pos: Pos) -> Done<bool> {
        let name = self.boot_of(vm)?.name.clone();
        self.act("check_text", Some(&name), format!("“{text}”"), Some(pos), |_| self.text_seen(vm, text))
    }

    fn screen(&self, vm: VmId, pos: Pos) -> Done<String> {
        let name = self.boot_of(vm)?.name.clone();
        self.act("screen", Some(&name), String::new(), Some(pos), |_| self.screen_of(vm))
    }

    fn wait_screen(&self, vm: VmId, text: &str, within: Duration, pos: Pos) -> Done {
        let name = self.boot_of(vm)?.name.clone();
        let args = format!("“{text}”, within {} s", within.as_secs());
        self.act("wait_screen", Some(&name), args, Some(pos), |a| self.await_screen(a, vm, text, within))?;
        self.proved(format!("the screen of {name} shows “{text}”"));
        Ok(())
    }

    fn assert_screen(&self, vm: VmId, text: &str, pos: Pos) -> Done {
        let name = self.boot_of(vm)?.name.clone();
        let args = format!("“{text}”");
        self.act("assert_screen", Some(&name), args, Some(pos), |a| self.judge_screen(a, vm, text))?;
        self.proved(format!("the screen of {name} shows “{text}”"));
        Ok(())
    }

    fn run(&self, vm: VmId, command: &Words, policy: ExitPolicy, pos: Pos) -> Done<RunOutput> {
        let name = self.boot_of(vm)?.name.clone();
        let verb = if policy == ExitPolicy::Any { "check_run" } else { "run" };
        self.act(verb, Some(&name), command.to_string(), Some(pos), |action| {
            self.run_in_guest(action, vm, command, policy)
        })
    }

    fn send(&self, vm: VmId, text: &Words, pos: Pos) -> Done {
        let name = self.boot_of(vm)?.name.clone();
        self.act("send", Some(&name), characters(text), Some(pos), |_| self.type_on(vm, text))
    }

    fn keys(&self, vm: VmId, names: &str, chords: &[Vec<String>], pos: Pos) -> Done {
        let name = self.boot_of(vm)?.name.clone();
        self.act("keys", Some(&name), names.to_owned(), Some(pos), |_| self.press(vm, chords))
    }

    fn type_text(&self, vm: VmId, text: &Words, chords: &[Vec<String>], pos: Pos) -> Done {
        let name = self.boot_of(vm)?.name.clone();
        self.act("type_text", Some(&name), characters(text), Some(pos), |_| self.press(vm, chords))
    }

    fn wait_agent(&self, vm: VmId, within: Duration, pos: Pos) -> Done {
        let name = self.boot_of(vm)?.name.clone();
        let args = format!("within {} s", within.as_secs());
        self.act("wait_agent", Some(&name), args, Some(pos), |a| self.await_agent(a, vm, within))?;
        self.proved(format!("the guest agent of {name} answers"));
        Ok(())
    }

    fn check_agent(&self, vm: VmId, pos: Pos) -> Done<bool> {
        let name = self.boot_of(vm)?.name.clone();
        self.act("check_agent", Some(&name), String::new(), Some(pos), |_| self.agent_answers(vm))
    }

    fn os_info(&self, vm: VmId, pos: Pos) -> Done<qemu::GuestOs> {
        let name = self.boot_of(vm)?.name.clone();
        self.act("os_info", Some(&name), String::new(), Some(pos), |_| self.guest_os(vm))
    }

    fn read_file(&self, vm: VmId, path: &str, pos: Pos) -> Done<String> {
        let name = self.boot_of(vm)?.name.clone();
        self.act("read_file", Some(&name), path.to_owned(), Some(pos), |_| self.guest_file(vm, path))
    }

    fn freeze(&self, vm: VmId, pos: Pos) -> Done {
        let name = self.boot_of(vm)?.name.clone();
        self.act("freeze", Some(&name), String::new(), Some(pos), |_| self.freeze_guest(vm))
    }

    fn thaw(&self, vm: VmId, pos: Pos) -> Done {
        let name = self.boot_of(vm)?.name.clone();
        self.act("thaw", Some(&name), String::new(), Some(pos), |_| self.thaw_guest(vm))
    }

    fn stop(&self, vm: VmId, pos: Pos) -> Done {
        let name = self.boot_of(vm)?.name.clone();
        self.act("stop", Some(&name), String::new(), Some(pos), |_| self.stop_boot(vm))
    }

    fn expect_failure_of(&self, vm: VmId, cause: &str, within: Duration, pos: Pos) -> Done {
        let name = self.boot_of(vm)?.name.clone();
        let args = format!("{cause}, within {} s", within.as_secs());
        self.act("expect_failure_of", Some(&name), args, Some(pos), |action| {
            self.expect_failure(action, vm, cause, within)
        })?;
        self.proved(format!("a disk with {cause} is caught at the right rung by its own words"));
        Ok(())
    }

    fn test_failover(&self, machine: MachineId, options: &FailoverOptions, pos: Pos) -> Done<MachineId> {
        let name = self.name_of(machine);
        let profile = options.profile.unwrap_or_default();
        let args = format!("profile {profile}");
        let copy = self.act("test_failover", Some(&name), args, Some(pos), |action| {
            self.plan_failover(action, machine, options)
        })?;
        if profile == ProfileId::AzureGen1 {
            self.not_proved(
                "that Azure takes the copy: it was booted under QEMU, with IDE or SCSI in place of VMBus; what its bytes say is in the \
                 finding azure-ready"
                    .into(),
            );
        }
        Ok(copy)
    }

    fn failback(&self, machine: MachineId, pos: Pos) -> Done<MachineId> {
        let name = self.name_of(machine);
        self.act("failback", Some(&name), String::new(), Some(pos), |action| {
            self.must_be_off(machine, "failback")?;
            let from = self.machine_of(machine)?;
            let now = from.now()?;
            let plan =
                engine::convert::to_gen2(&now, None).map_err(|refusal| super::home::refused(&refusal))?;
            let id = self.planned_machine(action, &from, Role::Home, now, &plan)?;
            Ok((id, super::machines::plan_line(&plan)))
        })
    }

    fn plan_failback(&self, machine: MachineId, pos: Pos) -> Done<FailbackPlan> {
        let name = self.name_of(machine);
        self.act("plan_failback", Some(&name), String::new(), Some(pos), |action| {
            let (plan, summary) = self.plan_home(machine)?;
            let artifact =
                self.recorder.keep(&format!("{name}.failback-{}.txt", action.id), plan.text.as_bytes()).ok();
            self.recorder.emit(&action.path, Kind::PatchPlanned { summary: summary.clone(), artifact });
            Ok((plan, summary))
        })
    }

    fn show_plan(&self, plan: &FailbackPlan, pos: Pos) -> Done {
        self.act("show", Some(&plan.machine), String::new(), Some(pos), |_| {
            self.say(&plan.text);
            Ok(((), String::new()))
        })
    }

    fn assert_no_conflicts(&self, plan: &FailbackPlan, pos: Pos) -> Done {
        self.act("assert_no_conflicts", Some(&plan.machine), String::new(), Some(pos), |_| {
            super::home::no_conflicts(plan)?;
            Ok(((), "what would be put back still fits".into()))
        })?;
        self.proved(format!("{} can go home: nothing that must be put back was changed", plan.machine));
        Ok(())
    }

    fn plant(&self, machine: MachineId, fault: &str, pos: Pos) -> Done<MachineId> {
        let name = self.name_of(machine);
        self.act("plant", Some(&name), fault.to_owned(), Some(pos), |_| {
            self.must_be_off(machine, "plant")?;
            let from = self.machine_of(machine)?;
            let base = crate::fault::plant(from.now()?, fault)?;
            Ok((self.altered_machine(&from, base, fault)?, format!("{fault} planted in a copy")))
        })
    }

    fn assert_file(&self, machine: MachineId, path: &Path, content: &str, pos: Pos) -> Done {
        let name = self.name_of(machine);
        let shown = path.display().to_string();
        self.act("assert_file", Some(&name), shown.clone(), Some(pos), |_| {
            match self.file_of(machine, path)? {
                Some(found) if found == content.as_bytes() => {
                    Ok(((), format!("{} bytes, equal", found.len())))
                }
                Some(found) => Err(VerbError::new(
                    Outcome::Failed,
                    format!(
                        "{shown} on {name}: wanted {}, found {}",
                        self.quoted(content.as_bytes()),
                        self.quoted(&found)
                    ),
                )),
                None => Err(VerbError::new(Outcome::Failed, format!("{shown} on {name}: no such file"))),
            }
        })?;
        self.proved(format!("{shown} on {name} is what it must be, read from the stopped disk"));
        Ok(())
    }

    fn check_file(&self, machine: MachineId, path: &Path, content: &str, pos: Pos) -> Done<bool> {
        let name = self.name_of(machine);
        self.act("check_file", Some(&name), path.display().to_string(), Some(pos), |_| {
            let same = self.file_of(machine, path)?.is_some_and(|found| found == content.as_bytes());
            Ok((same, if same { "equal".into() } else { "different or missing".into() }))
        })
    }

    fn assert_marker(&self, machine: MachineId, text: &str, pos: Pos) -> Done {
        let name = self.name_of(machine);
        self.act("assert_marker", Some(&name), format!("“{text}”"), Some(pos), |_| {
            self.judge_marker(machine, &name, text)
        })?;
        self.proved(format!("{name} came so far that its own system wrote “{text}” on its own root"));
        Ok(())
    }

    fn assert_same_layout_as(&self, machine: MachineId, other: MachineId, pos: Pos) -> Done {
        let (name, wanted) = (self.name_of(machine), self.name_of(other));
        self.act("assert_same_layout_as", Some(&name), wanted.clone(), Some(pos), |_| {
            let differences =
                super::files::layout_differences(&self.looked_at(other)?, &self.looked_at(machine)?);
            if differences.is_empty() {
                return Ok(((), "same table, partitions, types, ids, sizes and sector size".into()));
            }
            Err(VerbError::new(
                Outcome::Failed,
                format!("{name} differs from {wanted}: {}", differences.join("; ")),
            ))
        })?;
        self.proved(format!("{name} has the layout of {wanted}"));
        Ok(())
    }

    fn assert_same_boot_as(&self, machine: MachineId, other: MachineId, pos: Pos) -> Done {
        let (name, wanted) = (self.name_of(machine), self.name_of(other));
        self.act("assert_same_boot_as", Some(&name), wanted.clone(), Some(pos), |_| {
            let (was, is) = (self.disk_at_rest(other)?, self.disk_at_rest(machine)?);
            let go_on = || !self.cancel.is_cancelled();
            super::files::same_boot((&wanted, &was), (&name, &is), &go_on)?;
            Ok((
                (),
                "same table, ids, boot code, ESP, kernels, initramfs, loader configuration and mounts".into(),
            ))
        })?;
        self.proved(format!("what {name} starts by is what {wanted} starts by"));
        Ok(())
    }

    fn cleanup(&self, machine: MachineId, pos: Pos) -> Done {
        let name = self.name_of(machine);
        self.act("cleanup", Some(&name), String::new(), Some(pos), |_| {
            let from = self.machine_of(machine)?;
            let (boots, children) = {
                let mut machines = lock(&self.machines);
                let mut children = Vec::new();
                let mut gone = Vec::new();
                for (n, m) in machines.list.iter_mut().enumerate() {
                    if m.source == from.source && m.role != Role::Source && !m.cleaned {
                        m.cleaned = true;
                        gone.push(n);
                        if let Writes::Kept(child) = &m.writes {
                            children.push(child.clone());
                        }
                    }
                }
                let boots: Vec<_> = machines
                    .boots
                    .iter()
                    .filter(|b| usize::try_from(b.machine.0).is_ok_and(|n| gone.contains(&n)))
                    .cloned()
                    .collect();
                (boots, children)
            };
            for boot in &boots {
                boot.kill();
            }
            let mut removed = 0u32;
            for child in &children {
                match std::fs::remove_file(child) {
                    Ok(()) => removed = removed.saturating_add(1),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    Err(e) => {
                        return Err(VerbError::new(
                            Outcome::Broken,
                            format!("cannot remove {}: {e}", child.display()),
                        ));
                    }
                }
            }
            Ok(((), format!("{removed} children removed; nothing made from {name} is left")))
        })
    }

    fn assert_source_untouched(&self, machine: MachineId, pos: Pos) -> Done {
        let name = self.name_of(machine);
        self.act("assert_source_untouched", Some(&name), String::new(), Some(pos), |action| {
            let source = self.machine_of(machine)?.source;
            let detail = self.prove_source(action, source)?;
            Ok(((), detail))
        })?;
        self.proved(format!("the source {name} was not touched"));
        Ok(())
    }
}

impl Run {
    /// Preflight, plan, patch, child.
    pub(crate) fn plan_failover(
        &self,
        action: &Action,
        machine: MachineId,
        options: &FailoverOptions,
    ) -> Done<(MachineId, String)> {
        let profile = options.profile.unwrap_or_default();
        self.must_be_off(machine, "test_failover")?;
        let from = self.machine_of(machine)?;
        // What GRUB's maker says is the host's fault, not a reason of the disk's.
        let fault = std::cell::RefCell::new(None);
        let kits = |lba| {
            (self.lab.kits)(lba, &self.cancel).map_err(|e| {
                let text = e.message.clone();
                *fault.borrow_mut() = Some(e);
                text
            })
        };
        let table = match options.table {
            Table::Auto => TableChoice::Auto,
            Table::Gpt => TableChoice::Gpt,
            Table::Mbr => TableChoice::Mbr,
        };
        let now = from.now()?;
        let guest = self.look(&from.name, &now)?;
        let asked = self.preflight(action, &from, &guest, profile);
        let plan = engine::convert::to_gen1(
            &now,
            &guest.inspection,
            &kits,
            &Gen1Options { table, ..Gen1Options::default() },
        );
        let fault = fault.take();
        // All reasons at once: those of the rules, and those of the planner.
        if let Some(all) = asked.refused(plan.as_ref().err().filter(|_| fault.is_none())) {
            let error = VerbError::new(Outcome::Refused, &all);
            return Err(match all.next() {
                Some(next) => error.with_next(next),
                None => error,
            });
        }
        let plan = plan.map_err(|refusal| fault.unwrap_or_else(|| super::home::refused(&refusal)))?;
        let id = self.planned_machine(action, &from, Role::Copy, now, &plan)?;
        Ok((id, super::machines::plan_line(&plan)))
    }

    /// A file of a stopped machine's disk; `None` when there is no such file.
    pub(super) fn file_of(&self, machine: MachineId, path: &Path) -> Done<Option<Vec<u8>>> {
        self.must_be_off(machine, "reading a file")?;
        let machine = self.machine_of(machine)?;
        let now = machine.now()?;
        let guest = self.look(&machine.name, &now)?;
        super::files::read(&guest, &path.to_string_lossy(), MAX_FILE)
    }

    /// A stopped machine's disk as it is now.
    fn looked_at(&self, machine: MachineId) -> Done<Inspection> {
        self.must_be_off(machine, "reading the layout")?;
        let machine = self.machine_of(machine)?;
        let now = machine.now()?;
        Ok(self.look(&machine.name, &now)?.inspection)
    }

    fn disk_at_rest(&self, machine: MachineId) -> Done<DiskRef> {
        self.must_be_off(machine, "comparing its disk")?;
        self.machine_of(machine)?.now()
    }

    /// Bytes for a message: text where it is text, redacted, then cut to a readable length.
    pub(super) fn quoted(&self, bytes: &[u8]) -> String {
        let text = self.recorder.redactor().text(&String::from_utf8_lossy(bytes));
        let cut: String = text.chars().take(QUOTED).collect();
        let more = if cut.len() < text.len() { " …" } else { "" };
        format!("{cut:?}{more}")
    }

    pub(super) fn look(&self, name: &str, disk: &DiskRef) -> Done<Guest> {
        engine::guest::look(disk).map_err(|e| VerbError::new(Outcome::Broken, format!("{name}: {e}")))
    }
}

/// What the journal says of text that is typed.
fn characters(text: &Words) -> String {
    format!("{} characters", text.to_string().chars().count())
}
