//! The preflight of a test failover, told as findings: each rule that fires, and for Azure's own profile the verdict about its bytes, which no boot
//! changes and which changes no boot's.

use super::Run;
use super::actions::Action;
use super::machines::{Machine, severity_of};
use crate::event::Severity;
use engine::guest::Guest;
use engine::preflight::{Asked, Facts, ProfileId, Readiness, Subject, ask, azure_ready};

/// The id of the finding that holds the verdict "ready for Azure".
const AZURE_READY: &str = "azure-ready";

impl Run {
    /// Ask the rules and tell what they find. What the inspection found was told when the machine was opened.
    pub(super) fn preflight(
        &self,
        action: &Action,
        machine: &Machine,
        guest: &Guest,
        profile: ProfileId,
    ) -> Asked {
        let source =
            super::actions::lock(&self.machines).sources.get(machine.source).map(|s| s.opened.clone());
        let container = source.as_ref().map(|opened| &opened.info);
        let facts = Facts::of(Subject { guest, container, result: None });
        let asked = ask(profile, &facts);
        let told = |rule: &str| {
            let own = rule.strip_prefix("lab/");
            own.is_some_and(|id| machine.inspection.finding(id).is_some())
        };
        for found in asked.preflight.findings.iter().filter(|f| !told(&f.rule)) {
            self.finding(action, &found.rule, severity_of(found.severity), &found.text, &found.fix);
        }
        if profile == ProfileId::AzureGen1 {
            let ready = azure_ready(&facts);
            let severity = match &ready.verdict {
                Readiness::Ready => Severity::Info,
                Readiness::Unknown { .. } => Severity::Warning,
                Readiness::NotReady { .. } => Severity::Error,
            };
            self.finding(action, AZURE_READY, severity, &format!("{}: {}", machine.name, ready.line()), "");
        }
        asked
    }
}
