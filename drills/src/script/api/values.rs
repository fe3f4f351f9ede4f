//! What a script variable can hold: handles and units. Machines belong to the run; a handle is a number and a way to the stage.

use crate::script::stage::{self, Image, MachineId, RunOutput, Stage, VmId, Words};
use rhai::{Engine, ImmutableString};
use std::sync::Arc;
use std::time::Duration;

/// `3.minutes`: its own type, so that a bare 3 is no duration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Span(pub Duration);

/// `4.gib`: its own type, so that a bare 4 is no size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Bytes(pub u64);

/// A machine of the run.
#[derive(Clone)]
pub struct Machine {
    /// What it acts on.
    pub stage: Arc<dyn Stage>,
    /// Which one.
    pub id: MachineId,
}

/// A started machine of the run.
#[derive(Clone)]
pub struct Vm {
    /// What it acts on.
    pub stage: Arc<dyn Stage>,
    /// Which one.
    pub id: VmId,
}

/// A way home that was planned.
#[derive(Clone)]
pub struct FailbackPlan {
    /// What it acts on.
    pub stage: Arc<dyn Stage>,
    /// What it says.
    pub plan: Arc<stage::FailbackPlan>,
}

/// Text with a secret in it. It can be joined with text and handed to a guest; printed, it is its name.
#[derive(Clone)]
pub struct Secret(pub Words);

/// Gives the types the names that error messages use.
pub fn register_types(engine: &mut Engine) {
    engine
        .register_type_with_name::<Span>("Duration")
        .register_type_with_name::<Bytes>("Bytes")
        .register_type_with_name::<Machine>("Machine")
        .register_type_with_name::<Vm>("Vm")
        .register_type_with_name::<FailbackPlan>("Plan")
        .register_type_with_name::<Image>("Image")
        .register_type_with_name::<Secret>("Secret")
        .register_type_with_name::<RunOutput>("Output");
    let text = |text: &ImmutableString| Words::from(text.as_str());
    engine
        .register_fn("+", |a: Secret, b: Secret| Secret(a.0.then(&b.0)))
        .register_fn("+", move |a: Secret, b: ImmutableString| Secret(a.0.then(&text(&b))))
        .register_fn("+", move |a: ImmutableString, b: Secret| Secret(text(&a).then(&b.0)))
        .register_fn("to_string", |secret: &mut Secret| secret.0.to_string())
        .register_fn("to_debug", |secret: &mut Secret| secret.0.to_string());
}
