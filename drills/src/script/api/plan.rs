//! What a plan of the way home can do.

use super::values::FailbackPlan;
use super::{Form, Ty, Verb};
use crate::script::fault::{Ret, done, place};
use crate::script::stage::Done;
use rhai::NativeCallContext;

type Ctx<'a> = NativeCallContext<'a>;

/// The verbs.
pub static VERBS: &[Verb] = &[
    Verb {
        form: Form::Method(Ty::Plan),
        name: "show",
        params: &[],
        returns: Ty::Plan,
        proves: false,
        doc: "Prints the plan: each operation with place, size and reason, what is kept, and each conflict with the rule it breaks and what was found.",
        example: "copy.plan_failback().show();",
        register: |e, _| {
            e.register_fn("show", |c: Ctx<'_>, plan: &mut FailbackPlan| {
                let shown = plan.stage.show_plan(&plan.plan, place(&c));
                same(&c, plan, shown)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Plan),
        name: "assert_no_conflicts",
        params: &[],
        returns: Ty::Plan,
        proves: true,
        doc: "Fails the drill if the guest has changed something that failback would have to put back, and names each such place. A way home that \
              is refused for another reason ends the drill as refused.",
        example: "copy.plan_failback().assert_no_conflicts();",
        register: |e, _| {
            e.register_fn("assert_no_conflicts", |c: Ctx<'_>, plan: &mut FailbackPlan| {
                let seen = plan.stage.assert_no_conflicts(&plan.plan, place(&c));
                same(&c, plan, seen)
            });
        },
    },
];

fn same(c: &Ctx<'_>, plan: &FailbackPlan, result: Done) -> Ret<FailbackPlan> {
    done(c, result)?;
    Ok(plan.clone())
}
