//! Whether the guest, made Generation 1, would start in Azure and could be reached there: judged from bytes alone. Nothing is booted, and a
//! boot in the lab says nothing about it: there is no VMBus there.

use super::{Certainty, Facts, Found, ProfileId, Weight, profile};
use crate::guest::OsKind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Readiness {
    /// Nothing stands in the way of what can be seen on a disk.
    Ready,
    /// It would not start there, or could not be reached.
    NotReady {
        /// Why: each rule that is broken.
        reasons: Vec<Found>,
    },
    /// It depends on something that could not be read.
    Unknown {
        /// On what.
        why: Vec<String>,
    },
}

/// The verdict, and what else the documentation asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AzureReady {
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Readiness,
    /// The rules of which it cannot be told whether they are broken.
    pub unclear: Vec<Found>,
    /// What the documentation asks for and guests start without.
    pub advice: Vec<Found>,
}

/// Judge it. Only reads.
pub fn azure_ready(facts: &Facts) -> AzureReady {
    let os = facts.subject.guest.inspection.os.as_ref();
    if os.is_some_and(|os| os.kind == OsKind::Windows) {
        let why = vec!["Windows is installed, which is not looked into yet".to_string()];
        return AzureReady { verdict: Readiness::Unknown { why }, unclear: Vec::new(), advice: Vec::new() };
    }
    let (mut reasons, mut unclear, mut advice) = (Vec::new(), Vec::new(), Vec::new());
    let mut why: Vec<(String, Vec<&str>)> = Vec::new();
    for rule in profile(ProfileId::AzureGen1).rules {
        let Some(weight) = rule.azure else { continue };
        for told in rule.check.ask(facts) {
            if let (Weight::Must, Some(reason)) = (weight, told.unclear_because()) {
                // One file that cannot be read is one reason, however many rules ask for it.
                match why.iter_mut().find(|(known, _)| known == reason) {
                    Some((_, rules)) => rules.push(rule.id),
                    None => why.push((reason.to_string(), vec![rule.id])),
                }
            }
            match (weight, told.certainty) {
                (Weight::Must, Certainty::Certain) => reasons.push(Found::of(rule, told)),
                (Weight::Must, Certainty::Unclear) => unclear.push(Found::of(rule, told)),
                (Weight::Should, Certainty::Certain) => advice.push(Found::of(rule, told)),
                // Advice that may not even apply says nothing.
                (Weight::Should, Certainty::Unclear) => {}
            }
        }
    }
    let verdict = if !reasons.is_empty() {
        Readiness::NotReady { reasons }
    } else if !why.is_empty() {
        let of = |(reason, rules): (String, Vec<&str>)| format!("{reason} ({})", rules.join(", "));
        Readiness::Unknown { why: why.into_iter().map(of).collect() }
    } else {
        Readiness::Ready
    };
    AzureReady { verdict, unclear, advice }
}

impl AzureReady {
    /// The verdict in one line.
    pub fn line(&self) -> String {
        let rules = |found: &[Found]| found.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>().join(", ");
        match &self.verdict {
            Readiness::Ready if self.advice.is_empty() => {
                "ready (by its bytes; not booted there)".to_string()
            }
            Readiness::Ready => {
                format!(
                    "ready (by its bytes; not booted there); Azure's documentation also asks for: {}",
                    rules(&self.advice)
                )
            }
            Readiness::NotReady { reasons } => format!("not ready: {}", rules(reasons)),
            Readiness::Unknown { why } => format!("unknown: {}", why.join("; ")),
        }
    }
}

impl fmt::Display for AzureReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "azure       {}", self.line())?;
        if let Readiness::NotReady { reasons } = &self.verdict {
            list(f, "must", reasons)?;
        }
        if !matches!(self.verdict, Readiness::Unknown { .. }) {
            list(f, "unclear", &self.unclear)?;
        }
        list(f, "should", &self.advice)
    }
}

fn list(f: &mut fmt::Formatter<'_>, word: &str, all: &[Found]) -> fmt::Result {
    for found in all {
        writeln!(f, "  {word:<8} {}: {}", found.rule, found.text)?;
        if !found.fix.is_empty() {
            writeln!(f, "           {}", found.fix)?;
        }
    }
    Ok(())
}
