//! Would a platform take this disk? Named, dated profiles of rules, asked before anything is written.
//!
//! ```text
//! Guest, container, wanted result ─► Facts ─┬─ check(profile) ─► Preflight: every finding of every rule at once
//!                                           └─ azure_ready ────► AzureReady: Ready | NotReady | Unknown
//! ```
//! A [`Rule`] is a row of data: what it checks, its text, where that was said and when, how much it matters, what to do. A [`Profile`] is a
//! named list of rules with a date: what a service documented at that time, or ([`ProfileId::Lab`]) what this tool can do itself. The
//! profiles of a service are its documented envelope and nothing else; none says how the service works inside.
//!
//! **Invariant:** what cannot be told is [`Certainty::Unclear`] and never a reason to refuse; it is shown, as a warning at most.
//!
//! **Invariant:** "ready for Azure" is said of bytes alone. It is no word about a boot, and no boot says anything about it.

mod asr;
mod azure;
mod azure_gen1;
mod check;
mod disk;
mod document;
mod facts;
mod lab;
mod lab_home;
mod network;
mod profile;
mod refused;
mod report;
mod start;
mod yaml;

pub use azure::{AzureReady, Readiness, azure_ready};
pub use check::Check;
pub use document::document;
pub use facts::{Facts, Subject};
pub use profile::{NAMES, PROFILES, Profile, ProfileId, Rule, Source, Weight, profile, rule};
pub use refused::{Asked, Refused, ask};
pub use report::{Certainty, Found, Preflight};

/// Ask every rule of a profile. Only reads.
pub fn check(id: ProfileId, facts: &Facts) -> Preflight {
    let profile = profile(id);
    let of = |rule: &'static Rule| rule.check.ask(facts).into_iter().map(move |told| Found::of(rule, told));
    let mut findings: Vec<Found> = profile.rules.iter().flat_map(of).collect();
    if id == ProfileId::Lab {
        findings.extend(unnamed(profile, facts));
    }
    findings.sort_by_key(|found| found.severity);
    Preflight { profile: id, date: profile.date.to_string(), findings }
}

/// What an inspection found and no row names yet: shown all the same.
fn unnamed<'a>(lab: &'static Profile, facts: &'a Facts) -> impl Iterator<Item = Found> + 'a {
    let findings = &facts.subject.guest.inspection.findings;
    let is_named = |id: &str| lab.rules.iter().any(|rule| rule.id.strip_prefix("lab/") == Some(id));
    findings.iter().filter(move |finding| !is_named(&finding.id)).map(|finding| Found {
        rule: format!("lab/{}", finding.id),
        severity: finding.severity,
        certainty: Certainty::Certain,
        text: finding.text.clone(),
        fix: finding.fix.clone(),
        source: format!("drill's inspection, {}", lab.date),
    })
}
