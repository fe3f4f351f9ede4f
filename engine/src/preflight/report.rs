//! What a preflight found, and how people read it.

use super::check::{Told, What};
use super::{ProfileId, Rule, profile};
use crate::guest::Severity;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Whether a rule is known to be broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// It is.
    Certain,
    /// It cannot be told; the text says why.
    Unclear,
}

/// One finding of a rule.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Found {
    /// The rule.
    pub rule: String,
    /// How much it matters; what is unclear is a warning at most.
    pub severity: Severity,
    /// Whether it is known.
    pub certainty: Certainty,
    /// The rule and what was found.
    pub text: String,
    /// What to do; empty when nothing needs to be done.
    pub fix: String,
    /// Who says so, and when.
    pub source: String,
}

/// Everything that a profile's rules found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Preflight {
    /// The profile.
    pub profile: ProfileId,
    /// Its date.
    pub date: String,
    /// The findings, worst first.
    pub findings: Vec<Found>,
}

impl Found {
    pub(super) fn of(rule: &Rule, told: Told) -> Found {
        let (text, fix) = match told.what {
            What::Own { text, fix } => (text, fix),
            What::Found(found) => {
                let label = match told.certainty {
                    Certainty::Certain => "Found",
                    Certainty::Unclear => "Not clear",
                };
                (format!("{} {label}: {found}.", rule.text), rule.fix.to_string())
            }
        };
        let severity = match told.certainty {
            Certainty::Certain => rule.severity,
            Certainty::Unclear => rule.severity.max(Severity::Warning),
        };
        Found {
            rule: rule.id.to_string(),
            severity,
            certainty: told.certainty,
            text,
            fix,
            source: format!("{}, {}", rule.source.what, rule.source.date),
        }
    }
}

impl Preflight {
    /// What refuses a conversion.
    pub fn blockers(&self) -> impl Iterator<Item = &Found> {
        self.findings.iter().filter(|f| f.severity == Severity::Blocker)
    }

    /// Whose word a refusal is: for a service's profile that it is the service's, not this tool's.
    pub fn whose_word(&self) -> Option<String> {
        let (id, title) = (self.profile, profile(self.profile).title);
        match id {
            ProfileId::Lab => None,
            ProfileId::AzureGen1 => Some(format!(
                "{id} is what Azure's documentation asks of {title} ({}), not what drill can do: that is the profile lab",
                self.date
            )),
            ProfileId::Asr2015 | ProfileId::AsrHyperV2020 | ProfileId::AsrVmware2019 => Some(format!(
                "{id} is the documented envelope of that service at that date ({title}, {}), not what drill can do: that is the profile lab",
                self.date
            )),
        }
    }
}

impl fmt::Display for Preflight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = profile(self.profile).title;
        writeln!(f, "preflight   {} ({title}, {})", self.profile, self.date)?;
        if self.findings.is_empty() {
            writeln!(f, "  nothing found")?;
        }
        for found in &self.findings {
            write!(f, "{found}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:<8} {}: {}", self.severity.word(), self.rule, self.text)?;
        if !self.fix.is_empty() {
            writeln!(f, "           {}", self.fix)?;
        }
        Ok(())
    }
}
