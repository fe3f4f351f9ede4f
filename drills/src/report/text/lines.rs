//! The lines that appear while a drill runs.

use crate::event::{Event, Evidence, Header, How, Kind, Rung, Severity};
use crate::report::model::{Action, Model};
use crate::report::style::{Style, duration, say, shorten};
use crate::verdict::Outcome;

/// Turns events into lines. Give it each event after the model has taken it.
#[derive(Debug)]
pub struct Lines {
    style: Style,
    /// The action that was named last and has not ended: what belongs to it need not name it again.
    open: Option<u32>,
}

/// Column at which an action's time begins.
const TIME_COLUMN: usize = 68;
/// Columns of a machine's name.
const NAME_COLUMNS: usize = 10;

impl Lines {
    /// For this style.
    #[must_use]
    pub const fn new(style: Style) -> Self {
        Self { style, open: None }
    }

    /// What comes before all events.
    #[must_use]
    pub fn opening(&mut self, header: &Header) -> String {
        let dot = self.style.dot();
        let text =
            format!("run {}{dot}{}{dot}{}", header.run, header.tool, header.started.strftime("%F %T UTC"));
        format!("{}\n", self.style.dim(&say(self.style, &text)))
    }

    /// The lines of an event; empty for most progress.
    #[must_use]
    pub fn event(&mut self, event: &Event, model: &Model) -> String {
        let style = self.style;
        match &event.kind {
            Kind::RunStarted { scenario, args } => {
                let mut text = format!("{}\n", style.bold(&say(style, &scenario.title)));
                let args: Vec<String> = args.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let facts: Vec<String> = [scenario.path.clone(), args.join(" ")]
                    .into_iter()
                    .filter(|one| !one.is_empty())
                    .collect();
                if !facts.is_empty() {
                    text.push_str(&format!("{}\n", style.dim(&say(style, &facts.join(style.dot())))));
                }
                text
            }
            Kind::StepStarted { title } => {
                self.open = None;
                format!("\n{}\n", style.bold(&say(style, title)))
            }
            Kind::ActionFinished { id, outcome, detail, next, took_ms } => {
                let action = model.actions.iter().rev().find(|action| action.id == *id);
                self.finished(*id, action, *outcome, detail, next.as_deref(), *took_ms)
            }
            Kind::ActionStarted { .. }
            | Kind::Progress { .. }
            | Kind::Console { .. }
            | Kind::Screen { .. }
            | Kind::RunFinished { .. }
            | Kind::Unknown(_) => String::new(),
            _ => {
                let lines = self.detail(&event.kind);
                if lines.is_empty() {
                    return String::new();
                }
                let mut text = self.name_action(event, model);
                for line in lines {
                    text.push_str(&format!("      {line}\n"));
                }
                text
            }
        }
    }

    /// Name the action that the next lines belong to, when it has not been named.
    fn name_action(&mut self, event: &Event, model: &Model) -> String {
        let Some(id) = event.path.action else { return String::new() };
        if self.open == Some(id) {
            return String::new();
        }
        self.open = Some(id);
        let Some(action) = model.actions.iter().rev().find(|action| action.id == id) else {
            return String::new();
        };
        format!("  {} {}\n", self.style.running(), say(self.style, &action.label()))
    }

    fn finished(
        &mut self,
        id: u32,
        action: Option<&Action>,
        outcome: Outcome,
        detail: &str,
        next: Option<&str>,
        took_ms: u64,
    ) -> String {
        let style = self.style;
        if self.open == Some(id) {
            self.open = None;
        }
        let label = action.map_or_else(|| format!("action {id}"), Action::label);
        let label = shorten(style, &say(style, &label), TIME_COLUMN.saturating_sub(6));
        let word = if outcome == Outcome::Passed { String::new() } else { format!("  {outcome}") };
        let mark = style.paint(outcome, style.mark(outcome));
        let mut text = format!(
            "  {mark} {label:<width$}{time:>12}{word}\n",
            width = TIME_COLUMN.saturating_sub(8),
            time = duration(took_ms),
            word = style.paint(outcome, &word),
        );
        if !detail.is_empty() {
            for line in detail.lines().take(20) {
                text.push_str(&format!("      {}\n", say(style, line)));
            }
        }
        if let Some(next) = next {
            text.push_str(&format!("      next: {}\n", say(style, next)));
        }
        text
    }

    /// What an event says, line by line.
    fn detail(&self, kind: &Kind) -> Vec<String> {
        let style = self.style;
        let dot = style.dot();
        match kind {
            Kind::Finding { id, severity, text, fix } => {
                let mark = match severity {
                    Severity::Info => style.dot().trim().to_owned(),
                    Severity::Warning => style.paint(Outcome::NotPerformed, "!"),
                    Severity::Error => style.paint(Outcome::Failed, style.mark(Outcome::Failed)),
                };
                let mut lines = vec![format!("{mark} {}", say(style, &format!("{id}: {text}")))];
                lines.extend(fix.iter().map(|fix| format!("  fix: {}", say(style, fix))));
                lines
            }
            Kind::PatchPlanned { summary, artifact } => {
                let artifact = artifact.iter().map(|at| at.artifact.as_str());
                let heads = std::iter::once("plan: ").chain(std::iter::repeat("      "));
                let lines = heads.zip(summary.lines().take(20).chain(artifact));
                lines.map(|(head, line)| format!("{head}{}", say(style, line))).collect()
            }
            Kind::MachineStarted { machine, boot, generation, firmware, accelerator, disk_bus } => {
                let again = if *boot > 1 { format!("{dot}start {boot}") } else { String::new() };
                let text = format!("Gen{generation}{dot}{firmware}{dot}{accelerator}{dot}{disk_bus}{again}");
                vec![self.of_machine(machine, &text)]
            }
            Kind::Rung { machine, rung, how, at_ms, evidence, .. } => {
                let seen = match (how, evidence) {
                    (How::Implied, _) => "(implied by a later one)".to_owned(),
                    (How::Observed, evidence) => {
                        evidence.as_ref().map(|e| e.text.clone()).unwrap_or_default()
                    }
                };
                let text = format!("{rung:<9}{:>10}  {seen}", duration(*at_ms));
                vec![self.of_machine(machine, text.trim_end())]
            }
            Kind::Reset { machine, expected, reason, at_ms, .. } => {
                let how = if *expected { "reset, expected" } else { "RESET, not expected" };
                vec![self.of_machine(machine, &format!("{how} at {}: {reason}", duration(*at_ms)))]
            }
            // The rung said it already.
            Kind::BootVerdict { outcome: Outcome::Passed, rung: Some(Rung::Ready), .. } => Vec::new(),
            Kind::BootVerdict { machine, outcome, rung, cause, evidence, next, .. } => {
                let rung = rung.map_or_else(String::new, |rung| format!(" at {rung}"));
                let mut lines = vec![self.of_machine(machine, &format!("{outcome}{rung}: {cause}"))];
                if *outcome != Outcome::Passed {
                    lines.extend(evidence.iter().take(5).map(|one| self.evidence(one)));
                    lines.extend(next.iter().map(|next| format!("  next: {}", say(style, next))));
                }
                lines
            }
            Kind::AttemptStarted { attempt, of, need } => {
                vec![format!("attempt {attempt} of {of}, {need} must pass")]
            }
            Kind::AttemptFinished { attempt, outcome, .. } => {
                vec![style.paint(*outcome, &format!("{} attempt {attempt} {outcome}", style.mark(*outcome)))]
            }
            Kind::StepFinished { outcome, repeated } => {
                let flaky = if repeated.is_flaky() { "FLAKY, " } else { "" };
                let mut lines = vec![format!(
                    "{} {outcome}: {flaky}{repeated}",
                    style.paint(*outcome, style.mark(*outcome))
                )];
                lines.extend(repeated.quarantine.iter().map(|q| {
                    let word = if q.in_force { "in quarantine until" } else { "its quarantine ended on" };
                    format!("  {word} {}: {}", q.until, say(style, &q.reason))
                }));
                lines
            }
            Kind::SourceProof { file, how, outcome, detail } => {
                let how = format!("{how:?}").to_lowercase();
                let text = match outcome {
                    Outcome::Passed => format!("source {file} untouched, {how} proof: {detail}"),
                    outcome => format!("source {file} {outcome}, {how} proof: {detail}"),
                };
                vec![format!("{} {}", style.paint(*outcome, style.mark(*outcome)), say(style, &text))]
            }
            Kind::Note { text } => text.lines().take(20).map(|line| say(style, line)).collect(),
            _ => Vec::new(),
        }
    }

    fn of_machine(&self, machine: &str, text: &str) -> String {
        let machine = shorten(self.style, &say(self.style, machine), NAME_COLUMNS);
        let room = self.style.width.saturating_sub(NAME_COLUMNS).saturating_sub(8).max(40);
        format!("{machine:<NAME_COLUMNS$}  {}", shorten(self.style, &say(self.style, text), room))
    }

    fn evidence(&self, evidence: &Evidence) -> String {
        format!("  seen: {}", say(self.style, &evidence.text))
    }

    /// A damaged line of a journal.
    #[must_use]
    pub fn damage(&mut self, line: u64, why: &str) -> String {
        format!("  ! journal line {line} is damaged: {}\n", say(self.style, why))
    }

    /// A torn end of a journal.
    #[must_use]
    pub fn torn(&mut self) -> String {
        "  ! the journal ends in the middle of a line: the run was killed, or is writing\n".to_owned()
    }
}
