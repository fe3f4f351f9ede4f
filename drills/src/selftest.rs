//! What a test of the judge found: a row for each clean boot and each planted fault, and the score.

use crate::fault::{Caught, Fault, Seen};
use serde::Serialize;
use std::fmt;

/// How one row stands.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Caught at the right rung for its own reason, or refused in its own words.
    Caught,
    /// Not ready, but at another rung or for another reason; a wait that only ran out is one.
    Elsewhere,
    /// Ready all the same, or not refused.
    Missed,
    /// A clean disk that became ready.
    Quiet,
    /// A clean disk that was called something else.
    FalseAlarm,
    /// The fault has nothing to break on this disk.
    DoesNotFit,
    /// The host or drill failed.
    NoAnswer,
}

/// One clean boot, or one fault on one generation.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The fault, or `clean`.
    pub name: String,
    /// What it breaks.
    pub area: &'static str,
    /// 1 or 2; none for a fault of a file.
    pub generation: Option<u8>,
    /// The rung, or who must refuse it.
    pub wanted: &'static str,
    /// The causes that are its own, or a part of the refusal's words.
    pub wanted_causes: Vec<&'static str>,
    /// The highest rung of the last attempt, or who refused it.
    pub rung: Option<String>,
    /// Id of the cause.
    pub cause: Option<String>,
    /// The line that decided it, the refusal's words, or why there is no answer.
    pub words: String,
    /// Lab time from the start to the verdict, milliseconds.
    pub took_ms: u64,
    /// How it stands.
    pub standing: Standing,
}

/// All rows.
#[derive(Serialize, Clone, PartialEq, Eq, Default, Debug)]
pub struct Score {
    /// In the order in which they were tested.
    pub rows: Vec<Row>,
}

impl Row {
    /// A row of which nothing is known yet.
    pub(crate) fn new(name: &str, area: &'static str, generation: Option<u8>, wanted: &'static str) -> Row {
        Row {
            name: name.into(),
            area,
            generation,
            wanted,
            wanted_causes: Vec::new(),
            rung: None,
            cause: None,
            words: String::new(),
            took_ms: 0,
            standing: Standing::NoAnswer,
        }
    }

    /// The row of a fault.
    pub(crate) fn of(fault: &Fault, generation: Option<u8>) -> Row {
        let (wanted, causes) = match fault.caught {
            Caught::Boot { rung, causes, .. } => (crate::event::Rung::from(rung).word(), causes.to_vec()),
            Caught::Failover { says } => ("test failover", vec![says]),
            Caught::Opening { says } => ("opening", vec![says]),
        };
        Row { wanted_causes: causes, ..Row::new(fault.name, fault.area.word(), generation, wanted) }
    }

    pub(crate) fn standing(self, standing: Standing) -> Row {
        Row { standing, ..self }
    }

    pub(crate) fn because(self, why: &str) -> Row {
        Row { words: why.into(), ..self }
    }

    pub(crate) fn seen(self, seen: &Seen, took_ms: u64) -> Row {
        let rung = seen.rung.map(|r| crate::event::Rung::from(r).word().to_owned());
        Row { rung, cause: Some(seen.cause.clone()), words: seen.words.clone(), took_ms, ..self }
    }

    pub(crate) fn refused(self, by: &str, words: &str, took_ms: u64) -> Row {
        let refused = !words.is_empty();
        let cause = if refused { "refused" } else { "accepted" };
        Row {
            rung: refused.then(|| by.into()),
            cause: Some(cause.into()),
            words: words.into(),
            took_ms,
            ..self
        }
    }

    /// Whether this row is as it must be, or says nothing.
    pub fn is_good(&self) -> bool {
        matches!(self.standing, Standing::Caught | Standing::Quiet | Standing::DoesNotFit)
    }
}

impl Standing {
    /// The words for people.
    pub const fn word(self) -> &'static str {
        match self {
            Standing::Caught => "caught",
            Standing::Elsewhere => "ELSEWHERE",
            Standing::Missed => "MISSED",
            Standing::Quiet => "quiet",
            Standing::FalseAlarm => "FALSE ALARM",
            Standing::DoesNotFit => "does not fit",
            Standing::NoAnswer => "NO ANSWER",
        }
    }
}

impl Score {
    /// How many rows stand so.
    pub fn count(&self, standing: Standing) -> usize {
        self.rows.iter().filter(|r| r.standing == standing).count()
    }

    /// Whether something was tested, every fault that fits was caught, and there was no false alarm.
    pub fn is_full(&self) -> bool {
        let tested = self.rows.iter().any(|r| r.standing == Standing::Caught);
        tested && self.rows.iter().all(Row::is_good)
    }
}

/// `2 of 3 faults caught …; 0 false alarms in 20 clean boots`.
impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [caught, elsewhere, missed, quiet, alarms, unfit, unknown] = [
            Standing::Caught,
            Standing::Elsewhere,
            Standing::Missed,
            Standing::Quiet,
            Standing::FalseAlarm,
            Standing::DoesNotFit,
            Standing::NoAnswer,
        ]
        .map(|s| self.count(s));
        let planted = caught.saturating_add(elsewhere).saturating_add(missed);
        let clean = quiet.saturating_add(alarms);
        write!(
            f,
            "{caught} of {planted} planted faults caught at the right rung for their own reason, {elsewhere} elsewhere, {missed} missed; \
             {alarms} false alarms in {clean} clean boots"
        )?;
        if unfit > 0 {
            write!(f, "; {unfit} do not fit this disk")?;
        }
        if unknown > 0 {
            write!(f, "; {unknown} without an answer")?;
        }
        Ok(())
    }
}

/// A row as a line of the table: verdict, name, generation, rung wanted and seen, cause, seconds, words.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generation = self.generation.map_or_else(|| "-".to_owned(), |g| format!("gen{g}"));
        let seen = self.rung.as_deref().unwrap_or("-");
        let cause = self.cause.as_deref().unwrap_or("-");
        let (standing, seconds, tenths) =
            (self.standing.word(), self.took_ms / 1000, self.took_ms % 1000 / 100);
        write!(
            f,
            "{standing:<12} {:<23} {generation:<5} {:<13} {seen:<13} {cause:<22} {seconds:>3}.{tenths} s",
            self.name, self.wanted
        )
    }
}

/// The heading of a table of rows.
pub fn heading() -> String {
    format!(
        "{:<12} {:<23} {:<5} {:<13} {:<13} {:<22} {:>7}",
        "verdict", "fault", "gen", "rung wanted", "rung seen", "cause seen", "time"
    )
}
