//! The closing block: verdict first, evidence, what is proved and what is not, what to do.

use super::host;
use crate::event::{Evidence, Proof};
use crate::report::model::{Decisive, Finished, Model};
use crate::report::style::{Style, duration, say};
use crate::verdict::Outcome;
use std::path::Path;

/// Columns of the words at the left.
const LABEL: usize = 12;

/// The closing block of a run, in its folder.
#[must_use]
pub fn closing(model: &Model, run_dir: &Path, style: Style) -> String {
    let mut block = Block { style, text: format!("\n{}\n", style.rule()) };
    let title = say(style, &model.scenario.title);
    match &model.finished {
        Some(finished) => {
            let verdict =
                format!("{} {}", style.mark(finished.outcome), finished.outcome.word().to_uppercase());
            block.line(&format!("{}  {}", style.paint(finished.outcome, &verdict), style.bold(&title)));
            if finished.outcome != Outcome::Passed {
                block.line(&format!("  {}", style.dim(finished.outcome.meaning())));
            }
        }
        None => {
            let verdict = format!("{} NOT FINISHED", style.mark(Outcome::Broken));
            block.line(&format!("{}  {}", style.paint(Outcome::Broken, &verdict), style.bold(&title)));
            block.line(&style.dim("  the journal has no end: the run goes on, or was killed"));
        }
    }
    block.line("");
    if let Some(decisive) = model.decisive() {
        block.decisive(&decisive);
    } else if let Some(action) = model.unfinished() {
        let step = model.steps.get(action.step_index).map_or("", |step| step.title.as_str());
        block.fact("where", &format!("{step}{}{}, not finished", style.dot(), action.label()));
        block.line("");
    }
    if let Some(finished) = &model.finished {
        block.proved(finished);
    }
    block.repeated(model);
    block.sources(model);
    block.facts(model, run_dir);
    block.text
}

struct Block {
    style: Style,
    text: String,
}

impl Block {
    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    fn fact(&mut self, label: &str, text: &str) {
        let mut label = label;
        for line in text.lines().take(20) {
            let line = format!("  {label:<LABEL$}{}", say(self.style, line));
            self.line(&line);
            label = "";
        }
    }

    fn decisive(&mut self, decisive: &Decisive<'_>) {
        let step = decisive.step.map_or("", |step| step.title.as_str());
        let line = match decisive.action.line {
            0 => String::new(),
            line => format!(", line {line}"),
        };
        self.fact("where", &format!("{step}{}{}{line}", self.style.dot(), decisive.action.label()));
        self.fact("what", &decisive.ended.detail);
        if let Some((machine, boot)) = decisive.boot {
            if let Some(verdict) = &boot.verdict {
                let rung =
                    verdict.rung.map_or_else(|| "before the first rung".to_owned(), |rung| rung.to_string());
                self.fact("how far", &format!("{machine} start {}: {rung}", boot.boot));
                if !decisive.ended.detail.contains(&verdict.cause) {
                    self.fact("cause", &verdict.cause);
                }
                for evidence in verdict.evidence.iter().take(5) {
                    self.evidence(evidence);
                }
            }
            if let Some(console) = &boot.console {
                self.fact("console", console.artifact.as_str());
            }
            if let Some(screen) = &boot.screen {
                self.fact("screen", screen.artifact.as_str());
            }
        }
        let boot_next = decisive.boot.and_then(|(_, boot)| boot.verdict.as_ref()?.next.as_deref());
        if let Some(next) = decisive.ended.next.as_deref().or(boot_next) {
            self.fact("next", next);
        }
        self.line("");
    }

    fn evidence(&mut self, evidence: &Evidence) {
        self.fact("seen", &evidence.text);
        if let Some(at) = &evidence.at {
            self.fact("", &format!("in {} from byte {}, {} bytes", at.artifact, at.offset, at.len));
        }
    }

    fn proved(&mut self, finished: &Finished) {
        let style = self.style;
        if !finished.proved.is_empty() {
            self.line("  Proved");
            for one in &finished.proved {
                let mark = style.paint(Outcome::Passed, style.mark(Outcome::Passed));
                self.line(&format!("    {mark} {}", say(style, one)));
            }
        }
        if !finished.not_proved.is_empty() {
            self.line("  NOT proved");
            for one in &finished.not_proved {
                self.line(&format!("    - {}", say(style, one)));
            }
        }
        if !finished.proved.is_empty() || !finished.not_proved.is_empty() {
            self.line("");
        }
    }

    fn repeated(&mut self, model: &Model) {
        for step in &model.steps {
            let Some((outcome, repeated)) = &step.repeated else { continue };
            if repeated.is_flaky() {
                self.fact("flaky", &format!("{}: {repeated}", step.title));
            }
            if let Some(q) = &repeated.quarantine {
                let word = match (q.in_force, outcome) {
                    (false, _) => "ended on",
                    (true, Outcome::Passed) => "not needed any more, set until",
                    (true, _) => "until",
                };
                self.fact("quarantine", &format!("{}: {word} {}: {}", step.title, q.until, q.reason));
            }
        }
    }

    fn sources(&mut self, model: &Model) {
        for source in &model.sources {
            let how = match source.how {
                Proof::Quick => "quick",
                Proof::Full => "full",
            };
            let word = if source.outcome == Outcome::Passed { "untouched" } else { source.outcome.word() };
            self.fact("source", &format!("{} {word} ({how}: {})", source.file, source.detail));
        }
    }

    fn facts(&mut self, model: &Model, run_dir: &Path) {
        let took = model.finished.as_ref().map_or(model.last_ms, |finished| finished.took_ms);
        let place = model.header.as_ref().map(host).unwrap_or_default();
        let accelerators = match model.accelerators() {
            none if none.is_empty() => "no machine was started".to_owned(),
            some => some.join(" and "),
        };
        let dot = self.style.dot();
        self.fact("lab time", &format!("{}{dot}{accelerators} on {place}. Not an RTO.", duration(took)));
        self.fact("run", &run_dir.display().to_string());
        if !model.damage.is_empty() {
            self.fact("damage", &format!("lines of the journal that cannot be read: {}", model.damage.len()));
        }
        if model.unknown > 0 {
            self.fact("newer", &format!("events of kinds this drill does not know: {}", model.unknown));
        }
        if model.left_out > 0 {
            self.fact("left out", &format!("events that fit nowhere or are too many: {}", model.left_out));
        }
        let replay = format!("drill replay {}", run_dir.display());
        match model.outcome() {
            Some(Outcome::Passed) => self.fact("again", &replay),
            _ => self.fact("again", &format!("{replay}{dot}drill why")),
        }
    }
}
