//! The verbs of a scenario, as one table: the host registers from it, the checker and the reference read it.

pub mod agent;
pub mod free;
pub mod keys;
pub mod machine;
pub mod number;
pub mod plan;
pub mod repeat;
pub mod values;
pub mod vm;

use super::options::OptionSet;
use super::stage::Stage;
use rhai::Engine;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a value is, as far as a scenario's reader cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    /// Nothing.
    Nothing,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Number,
    /// Text.
    Text,
    /// `3.minutes`
    Duration,
    /// `4.gib`
    Bytes,
    /// What `fixture` gives; text is an image too.
    Image,
    /// What `secret` gives.
    Secret,
    /// Text, or text with a secret in it.
    Words,
    /// A machine.
    Machine,
    /// A started machine.
    Vm,
    /// A way home that was planned.
    Plan,
    /// What a command answered.
    Output,
    /// A part of the scenario: `|| { … }`.
    Body,
    /// An option map.
    Options,
    /// Not known before it runs.
    Any,
}

impl Ty {
    /// Its name in the reference.
    pub const fn name(self) -> &'static str {
        match self {
            Ty::Nothing => "nothing",
            Ty::Bool => "Bool",
            Ty::Number => "Number",
            Ty::Text => "Text",
            Ty::Duration => "Duration",
            Ty::Bytes => "Bytes",
            Ty::Image => "Image",
            Ty::Secret => "Secret",
            Ty::Words => "Text or Secret",
            Ty::Machine => "Machine",
            Ty::Vm => "Vm",
            Ty::Plan => "Plan",
            Ty::Output => "Output",
            Ty::Body => "|| {…}",
            Ty::Options => "#{…}",
            Ty::Any => "anything",
        }
    }
}

/// A parameter.
#[derive(Debug)]
pub struct Param {
    /// Its name in the reference.
    pub name: &'static str,
    /// What it takes.
    pub ty: Ty,
    /// Whether it may be left out; only the last one may.
    pub optional: bool,
    /// The keys, when it is an option map.
    pub options: Option<&'static OptionSet>,
}

impl Param {
    const fn must(name: &'static str, ty: Ty) -> Param {
        Param { name, ty, optional: false, options: None }
    }

    const fn must_options(set: &'static OptionSet) -> Param {
        Param { name: "options", ty: Ty::Options, optional: false, options: Some(set) }
    }

    const fn options(set: &'static OptionSet) -> Param {
        Param { name: "options", ty: Ty::Options, optional: true, options: Some(set) }
    }
}

/// How a verb is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `name(…)`
    Function,
    /// `value.name(…)`
    Method(Ty),
    /// `value.name`
    Property(Ty),
}

/// One verb.
pub struct Verb {
    /// How it is written.
    pub form: Form,
    /// Its name.
    pub name: &'static str,
    /// Its parameters, without the receiver.
    pub params: &'static [Param],
    /// What it gives.
    pub returns: Ty,
    /// Whether it can fail a drill because of the drilled system: an assertion, a wait or an expectation.
    pub proves: bool,
    /// What it does; the first sentence is the summary.
    pub doc: &'static str,
    /// A line of a scenario.
    pub example: &'static str,
    /// Puts it into an engine.
    pub register: fn(&mut Engine, &Host),
}

impl Verb {
    /// `vm.wait_ready(within: Duration) -> Vm`
    pub fn signature(&self) -> String {
        let params: Vec<String> = self
            .params
            .iter()
            .map(|p| format!("{}{}: {}", p.name, if p.optional { "?" } else { "" }, p.ty.name()))
            .collect();
        let call = match self.form {
            Form::Function => format!("{}({})", self.name, params.join(", ")),
            Form::Method(on) => format!("{}.{}({})", on.name().to_lowercase(), self.name, params.join(", ")),
            Form::Property(on) => format!("{}.{}", on.name().to_lowercase(), self.name),
        };
        if self.returns == Ty::Nothing { call } else { format!("{call} -> {}", self.returns.name()) }
    }

    /// The fewest and the most arguments.
    pub fn arity(&self) -> (usize, usize) {
        (self.params.iter().filter(|p| !p.optional).count(), self.params.len())
    }

    /// Whether it takes such a value.
    pub fn wants(&self, ty: Ty) -> bool {
        self.params.iter().any(|p| p.ty == ty)
    }
}

/// What registered functions share.
#[derive(Clone)]
pub struct Host {
    /// What the verbs act on.
    pub stage: Arc<dyn Stage>,
    /// Values of `--set`.
    pub set: Arc<BTreeMap<String, String>>,
}

/// Every verb, in the order of the reference.
pub fn verbs() -> impl Iterator<Item = &'static Verb> {
    free::VERBS
        .iter()
        .chain(repeat::VERBS)
        .chain(machine::VERBS)
        .chain(plan::VERBS)
        .chain(vm::VERBS)
        .chain(keys::VERBS)
        .chain(agent::VERBS)
        .chain(number::VERBS)
}

/// Registers every verb.
pub fn register(engine: &mut Engine, host: &Host) {
    values::register_types(engine);
    for verb in verbs() {
        (verb.register)(engine, host);
    }
}

/// The name most like `word`, if one is like it at all.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = word.chars().count().div_ceil(3).min(4);
    names.map(|n| (distance(word, n), n)).filter(|(d, _)| *d <= limit).min().map(|(_, n)| n)
}

/// Edits between two words (insert, delete, replace, swap of neighbours), for words of at most 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(x != y)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
