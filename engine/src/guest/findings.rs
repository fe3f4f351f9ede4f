//! What stands out on a disk, each with what to do about it.

use serde::{Deserialize, Serialize};

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// No conversion before it is resolved.
    Blocker,
    /// The guest may not start, or start differently.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Blocker => "blocker",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// Something that stands out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// Stable name of the rule: `gpt-crc-primary`, `kernel-missing`, …
    pub id: String,
    /// How much it matters.
    pub severity: Severity,
    /// What was found, as a sentence.
    pub text: String,
    /// What to do, as a sentence; empty when nothing needs to be done.
    pub fix: String,
}

/// Findings in the making.
#[derive(Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub fn blocker(&mut self, id: &str, text: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Blocker, id, text, fix);
    }

    pub fn warning(&mut self, id: &str, text: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Warning, id, text, fix);
    }

    pub fn note(&mut self, id: &str, text: impl Into<String>, fix: impl Into<String>) {
        self.add(Severity::Note, id, text, fix);
    }

    fn add(&mut self, severity: Severity, id: &str, text: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding { id: id.to_string(), severity, text: text.into(), fix: fix.into() });
    }

    /// The text of the first finding of this id.
    pub fn text_of(&self, id: &str) -> Option<String> {
        self.0.iter().find(|f| f.id == id).map(|f| f.text.clone())
    }

    /// Worst first, otherwise in the order they were found.
    pub fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|f| f.severity);
        self.0
    }
}
