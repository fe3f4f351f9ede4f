//! What a started machine's guest agent can be asked.

use super::values::{Span, Vm};
use super::vm::same;
use super::{Form, Param, Ty, Verb};
use crate::script::fault::{Ret, done, place};
use rhai::{Dynamic, ImmutableString, Map, NativeCallContext};

type Ctx<'a> = NativeCallContext<'a>;

/// The verbs.
pub static VERBS: &[Verb] = &[
    Verb {
        form: Form::Method(Ty::Vm),
        name: "wait_agent",
        params: &[Param::must("within", Ty::Duration)],
        returns: Ty::Vm,
        proves: true,
        doc: "Waits until the QEMU guest agent answers; fails the drill at the deadline.",
        example: "vm.wait_agent(3.minutes);",
        register: |e, _| {
            e.register_fn("wait_agent", |c: Ctx<'_>, vm: &mut Vm, within: Span| {
                let seen = vm.stage.wait_agent(vm.id, within.0, place(&c));
                same(&c, vm, seen)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "check_agent",
        params: &[],
        returns: Ty::Bool,
        proves: false,
        doc: "Whether the guest agent answers now.",
        example: "if !vm.check_agent() { print(\"no guest agent: commands go over the console\"); }",
        register: |e, _| {
            e.register_fn("check_agent", |c: Ctx<'_>, vm: &mut Vm| {
                done(&c, vm.stage.check_agent(vm.id, place(&c)))
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "os_info",
        params: &[],
        returns: Ty::Any,
        proves: false,
        doc: "What the guest agent says of the system: a map of texts with `id`, `name`, `version`, `kernel` and `machine`. A guest without an agent is not performed, never failed.",
        example: "if vm.os_info().id != \"debian\" { fail(\"another system came up\"); }",
        register: |e, _| {
            e.register_fn("os_info", |c: Ctx<'_>, vm: &mut Vm| -> Ret<Map> {
                let os = done(&c, vm.stage.os_info(vm.id, place(&c)))?;
                let fields = [
                    ("id", os.id),
                    ("name", os.name),
                    ("version", os.version),
                    ("kernel", os.kernel),
                    ("machine", os.machine),
                ];
                Ok(fields.into_iter().map(|(key, text)| (key.into(), Dynamic::from(text))).collect())
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "read_file",
        params: &[Param::must("path", Ty::Text)],
        returns: Ty::Text,
        proves: false,
        doc: "A file of the running guest, read by its agent, at most 1 MiB of text. No such file fails the drill; a guest without an agent is not performed.",
        example: "if !vm.read_file(\"/etc/hostname\").starts_with(\"web01\") { fail(\"another host came up\"); }",
        register: |e, _| {
            e.register_fn("read_file", |c: Ctx<'_>, vm: &mut Vm, path: ImmutableString| {
                done(&c, vm.stage.read_file(vm.id, &path, place(&c)))
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "freeze",
        params: &[],
        returns: Ty::Vm,
        proves: true,
        doc: "Stops all writes to the guest's file systems by its agent, as a backup does. Fails the drill when none was frozen. Until `thaw` commands cannot run; `stop` thaws first.",
        example: "vm.freeze().thaw();",
        register: |e, _| {
            e.register_fn("freeze", |c: Ctx<'_>, vm: &mut Vm| {
                let frozen = vm.stage.freeze(vm.id, place(&c));
                same(&c, vm, frozen)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "thaw",
        params: &[],
        returns: Ty::Vm,
        proves: false,
        doc: "Lets the guest's file systems be written again.",
        example: "vm.freeze().thaw();",
        register: |e, _| {
            e.register_fn("thaw", |c: Ctx<'_>, vm: &mut Vm| {
                let thawed = vm.stage.thaw(vm.id, place(&c));
                same(&c, vm, thawed)
            });
        },
    },
];
