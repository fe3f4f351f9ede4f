//! Whether a boot was caught for the fault that is in it.

use super::{Caught, Fault};
use crate::event;
use qemu::Rung;
use qemu::ladder::{Outcome, Verdict};

/// The name of a boot of which nothing could be seen, where a cause is wanted.
const UNSEEN: &str = "unseen";

/// The same of one that got ready.
const READY: &str = "ready";

/// How a planted fault fared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// Stopped at the rung of the fault, for a reason of its own.
    Caught,
    /// Not ready, but at another rung or for another reason; a wait that merely ran out is one.
    Elsewhere,
    /// Ready all the same.
    Missed,
}

/// What was seen of a boot that was judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The highest rung of the last attempt.
    pub rung: Option<Rung>,
    /// Id of the cause, `ready`, or `unseen`.
    pub cause: String,
    /// The cause in a reader's words.
    pub text: String,
    /// The line that decided it; empty when there is none.
    pub words: String,
}

/// Ids of the causes that count as catching this fault; the name itself when it is a cause's own.
pub(crate) fn causes_of(name: &str) -> Vec<&str> {
    match Fault::named(name).map(|f| f.caught) {
        Some(Caught::Boot { causes, .. }) => causes.to_vec(),
        // Nothing a boot shows is the mark of what is refused before it.
        Some(Caught::Failover { .. } | Caught::Opening { .. }) => Vec::new(),
        None => vec![name],
    }
}

/// Compare a verdict with what must catch `name`, a fault or a cause. `None` when there is no answer: the host failed, or the wait was called off.
pub(crate) fn judge(name: &str, verdict: &Verdict) -> Option<(Judgement, Seen)> {
    let rung = verdict.attempts.last().and_then(|a| a.highest());
    let wanted = causes_of(name);
    let at = match Fault::named(name).map(|f| f.caught) {
        Some(Caught::Boot { rung, .. }) => Some(rung),
        _ => None,
    };
    let right = |rung: Option<Rung>, cause: &str| {
        if wanted.contains(&cause) && at.is_none_or(|at| rung == Some(at)) {
            Judgement::Caught
        } else {
            Judgement::Elsewhere
        }
    };
    match &verdict.outcome {
        Outcome::Ready { evidence } => {
            let (cause, text) = (READY.to_owned(), "it started".to_owned());
            Some((Judgement::Missed, Seen { rung, cause, text, words: evidence.line.clone() }))
        }
        Outcome::Stopped { at, why, evidence } => {
            let words = evidence.as_ref().map(|e| e.line.clone()).unwrap_or_default();
            let seen = Seen { rung: Some(*at), cause: why.id.clone(), text: why.text.clone(), words };
            Some((right(Some(*at), &why.id), seen))
        }
        Outcome::Unseen { what, .. } => {
            let seen = Seen { rung, cause: UNSEEN.to_owned(), text: what.clone(), words: String::new() };
            Some((right(rung, UNSEEN), seen))
        }
        Outcome::Broken { .. } | Outcome::Cancelled => None,
    }
}

impl Seen {
    /// A boot that was caught, in a line.
    pub(crate) fn caught(&self) -> String {
        format!("caught at {}: {} (“{}”)", self.rung_word(), self.text, self.words)
    }

    /// A boot that was not, in a line: what was wanted, what was seen.
    pub(crate) fn not_caught(&self, name: &str) -> String {
        if self.cause == READY {
            return format!("it started, although {name} was planted: this check proves nothing");
        }
        let at = match Fault::named(name).map(|f| f.caught) {
            Some(Caught::Boot { rung, .. }) => format!(" at {}", event::Rung::from(rung)),
            _ => String::new(),
        };
        let wanted = causes_of(name);
        let wanted =
            if wanted.is_empty() { "a refusal before any boot".to_owned() } else { wanted.join(", ") };
        let (rung, cause, words) = (self.rung_word(), &self.cause, &self.words);
        format!("it failed at {rung} of {cause} (“{words}”), wanted one of: {wanted}{at}")
    }

    fn rung_word(&self) -> &'static str {
        self.rung.map_or("no rung", |rung| event::Rung::from(rung).word())
    }
}

impl Judgement {
    /// The words for people.
    pub const fn word(self) -> &'static str {
        match self {
            Judgement::Caught => "caught",
            Judgement::Elsewhere => "elsewhere",
            Judgement::Missed => "missed",
        }
    }
}
