//! What a started machine can do.

use super::values::{Secret, Span, Vm};
use super::{Form, Param, Ty, Verb};
use crate::script::fault::{Ret, done, place};
use crate::script::stage::{Done, ExitPolicy, Words};
use rhai::{ImmutableString, NativeCallContext};

type Ctx<'a> = NativeCallContext<'a>;

/// The verbs.
pub static VERBS: &[Verb] = &[
    Verb {
        form: Form::Method(Ty::Vm),
        name: "wait_ready",
        params: &[Param::must("within", Ty::Duration)],
        returns: Ty::Vm,
        proves: true,
        doc: "Waits until the guest is up and stays up; fails the drill at the deadline, or earlier when the boot has visibly failed.",
        example: "vm.wait_ready(3.minutes);",
        register: |e, _| {
            e.register_fn("wait_ready", |c: Ctx<'_>, vm: &mut Vm, within: Span| {
                let seen = vm.stage.wait_ready(vm.id, within.0, place(&c));
                same(&c, vm, seen)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "wait_text",
        params: &[Param::must("text", Ty::Text), Param::must("within", Ty::Duration)],
        returns: Ty::Vm,
        proves: true,
        doc: "Waits for this text on the console or the screen, from where the last wait ended; fails the drill at the deadline.",
        example: "vm.wait_text(\"login:\", 2.minutes);",
        register: |e, _| {
            e.register_fn("wait_text", |c: Ctx<'_>, vm: &mut Vm, text: ImmutableString, within: Span| {
                let seen = vm.stage.wait_text(vm.id, &text, within.0, place(&c));
                same(&c, vm, seen)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "check_text",
        params: &[Param::must("text", Ty::Text)],
        returns: Ty::Bool,
        proves: false,
        doc: "Whether this text has been seen since the start.",
        example: "if vm.check_text(\"fsck\") { print(\"the guest repaired its disk\"); }",
        register: |e, _| {
            e.register_fn("check_text", |c: Ctx<'_>, vm: &mut Vm, text: ImmutableString| {
                done(&c, vm.stage.check_text(vm.id, &text, place(&c)))
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "screen",
        params: &[],
        returns: Ty::Text,
        proves: false,
        doc: "The text that stands on the screen now, a line a row; \u{fffd} stands for a cell that cannot be read. Of a picture without text in \
              a known font it says in brackets what it is.",
        example: "print(vm.screen());",
        register: |e, _| {
            e.register_fn("screen", |c: Ctx<'_>, vm: &mut Vm| done(&c, vm.stage.screen(vm.id, place(&c))));
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "wait_screen",
        params: &[Param::must("text", Ty::Text), Param::must("within", Ty::Duration)],
        returns: Ty::Vm,
        proves: true,
        doc: "Waits until this text stands on the screen; fails the drill at the deadline. A screen that cannot be read there is not performed, \
              never failed.",
        example: "vm.wait_screen(\"GNU GRUB\", 1.minutes);",
        register: |e, _| {
            e.register_fn("wait_screen", |c: Ctx<'_>, vm: &mut Vm, text: ImmutableString, within: Span| {
                let seen = vm.stage.wait_screen(vm.id, &text, within.0, place(&c));
                same(&c, vm, seen)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "assert_screen",
        params: &[Param::must("text", Ty::Text)],
        returns: Ty::Vm,
        proves: true,
        doc: "This text stands on the screen now, or the drill fails. A screen that cannot be read there is not performed, never failed.",
        example: "vm.assert_screen(\"login:\");",
        register: |e, _| {
            e.register_fn("assert_screen", |c: Ctx<'_>, vm: &mut Vm, text: ImmutableString| {
                let seen = vm.stage.assert_screen(vm.id, &text, place(&c));
                same(&c, vm, seen)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "run",
        params: &[Param::must("command", Ty::Words)],
        returns: Ty::Output,
        proves: true,
        doc: "Runs a shell command in the guest, through its agent or the shell on its console. An exit code other than 0 fails the drill.",
        example: "vm.run(\"systemctl is-active nginx\");",
        register: |e, _| {
            e.register_fn("run", |c: Ctx<'_>, vm: &mut Vm, command: ImmutableString| {
                done(&c, vm.stage.run(vm.id, &command.as_str().into(), ExitPolicy::MustBeZero, place(&c)))
            });
            e.register_fn("run", |c: Ctx<'_>, vm: &mut Vm, command: Secret| {
                done(&c, vm.stage.run(vm.id, &command.0, ExitPolicy::MustBeZero, place(&c)))
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "check_run",
        params: &[Param::must("command", Ty::Words)],
        returns: Ty::Bool,
        proves: false,
        doc: "Runs a shell command in the guest and says whether its exit code is 0.",
        example: "if vm.check_run(\"test -e /etc/nginx\") { vm.run(\"nginx -t\"); }",
        register: |e, _| {
            let asked = |c: &Ctx<'_>, vm: &Vm, command: &Words| {
                done(c, vm.stage.run(vm.id, command, ExitPolicy::Any, place(c))).map(|o| o.exit == 0)
            };
            e.register_fn("check_run", move |c: Ctx<'_>, vm: &mut Vm, command: ImmutableString| {
                asked(&c, vm, &command.as_str().into())
            });
            e.register_fn("check_run", move |c: Ctx<'_>, vm: &mut Vm, command: Secret| {
                asked(&c, vm, &command.0)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "stop",
        params: &[],
        returns: Ty::Vm,
        proves: false,
        doc: "Shuts the guest down, or pulls the plug when it does not listen; the report says which.",
        example: "vm.stop();",
        register: |e, _| {
            e.register_fn("stop", |c: Ctx<'_>, vm: &mut Vm| {
                let ended = vm.stage.stop(vm.id, place(&c));
                same(&c, vm, ended)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "expect_failure_of",
        params: &[Param::must("cause", Ty::Text), Param::must("within", Ty::Duration)],
        returns: Ty::Vm,
        proves: true,
        doc: "A control: passes only when the boot fails because of this cause, at its rung and by its own words. Silence up to the deadline \
              is not a pass.",
        example: "broken.start().expect_failure_of(\"kernel-missing\", 3.minutes);",
        register: |e, _| {
            e.register_fn(
                "expect_failure_of",
                |c: Ctx<'_>, vm: &mut Vm, cause: ImmutableString, within: Span| {
                    let seen = vm.stage.expect_failure_of(vm.id, &cause, within.0, place(&c));
                    same(&c, vm, seen)
                },
            );
        },
    },
];

pub(super) fn same(c: &Ctx<'_>, vm: &Vm, result: Done) -> Ret<Vm> {
    done(c, result)?;
    Ok(vm.clone())
}
