//! What is wrong with a scenario, and where; drawn with a caret into its text.

use super::source::{Pos, Source};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::{Deserialize, Serialize};

/// How sure and how bad.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It will not work.
    Error,
    /// It works and is most likely not what is meant.
    Warning,
    /// It can only be seen by running it.
    Undecided,
}

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Where; `None` when it is about the whole scenario.
    pub pos: Option<Pos>,
    /// How bad.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding without advice.
    pub fn new(severity: Severity, pos: Option<Pos>, message: impl Into<String>) -> Self {
        Diagnostic { pos, severity, message: message.into(), help: None }
    }

    /// An error without advice.
    pub fn error(pos: Option<Pos>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, pos, message)
    }

    /// The same with advice.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The picture: message, the line with a caret, help. Plain text, no colours.
    pub fn render(&self, source: &Source) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Undecided => Level::NOTE,
        };
        let mut group =
            level.primary_title(self.message.as_str()).elements(None::<annotate_snippets::Message<'_>>);
        if let Some(pos) = self.pos {
            let span = source.word_at(pos);
            group = group.element(
                Snippet::source(source.text.as_str())
                    .path(source.name.as_str())
                    .annotation(AnnotationKind::Primary.span(span)),
            );
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::plain().render(&[group])
    }
}
