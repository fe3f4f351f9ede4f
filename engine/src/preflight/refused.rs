//! All reasons against a conversion together: those of the profile that was asked for, those of this tool itself, those of its planner.

use super::{Facts, Found, Preflight, ProfileId, check, rule};
use crate::convert::{Refusal, RefusalReason};
use crate::guest::Severity;
use serde::Serialize;
use std::fmt;

/// What was asked before a conversion.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Asked {
    /// The profile.
    pub preflight: Preflight,
    /// Beside a service's profile, what this tool itself finds; `None` when that was the profile.
    pub own: Option<Preflight>,
}

/// A conversion that is refused, with everything that was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Refused {
    /// What was asked.
    #[serde(flatten)]
    pub asked: Asked,
    /// What the planner said beside that.
    pub planner: Vec<RefusalReason>,
}

/// Ask a profile and, beside a service's, the profile lab: a conversion needs both.
pub fn ask(id: ProfileId, facts: &Facts) -> Asked {
    let own = (id != ProfileId::Lab).then(|| check(ProfileId::Lab, facts));
    Asked { preflight: check(id, facts), own }
}

impl Asked {
    fn blockers(&self) -> impl Iterator<Item = &Found> {
        self.preflight.blockers().chain(self.own.iter().flat_map(Preflight::blockers))
    }

    /// The refusal, when a rule refuses or the planner did.
    pub fn refused(&self, planner: Option<&Refusal>) -> Option<Refused> {
        let told = |reason: &&RefusalReason| self.blockers().any(|f| f.rule == own_name(&reason.id));
        let reasons = planner.map(|r| r.reasons.as_slice()).unwrap_or_default();
        let planner: Vec<RefusalReason> = reasons.iter().filter(|r| !told(r)).cloned().collect();
        (self.blockers().next().is_some() || !planner.is_empty())
            .then(|| Refused { asked: self.clone(), planner })
    }
}

/// An id of the planner as the rule that explains it.
fn own_name(id: &str) -> String {
    format!("lab/{id}")
}

impl Refused {
    /// What to do first.
    pub fn next(&self) -> Option<String> {
        let profile = self.asked.preflight.profile;
        let ours = self.asked.own.iter().flat_map(Preflight::blockers).next().is_some();
        let of_a_service = !matches!(profile, ProfileId::Lab | ProfileId::AzureGen1);
        if of_a_service && !ours && self.planner.is_empty() {
            return Some(format!(
                "`drill explain {profile}` says where its rules stand; no rule of drill itself refuses this disk: --profile lab"
            ));
        }
        let fixes = self.asked.blockers().map(|f| &f.fix).chain(self.planner.iter().map(|r| &r.fix));
        fixes.into_iter().find(|fix| !fix.is_empty()).cloned()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Asked { preflight, own } = &self.asked;
        write!(f, "no plan from Generation 2 to Generation 1, by the profile {}:", preflight.profile)?;
        let own = own.iter().flat_map(Preflight::blockers);
        for found in preflight.findings.iter().chain(own) {
            write!(f, "\n{}", found.to_string().trim_end())?;
        }
        for reason in &self.planner {
            let id = own_name(&reason.id);
            let id = rule(&id).map_or(reason.id.as_str(), |r| r.id);
            write!(f, "\n  {:<8} {id}: {}", Severity::Blocker.word(), reason.text)?;
            if !reason.fix.is_empty() {
                write!(f, "\n           {}", reason.fix)?;
            }
        }
        match preflight.whose_word() {
            Some(word) => write!(f, "\n{word}"),
            None => Ok(()),
        }
    }
}
