//! Typing on a started machine: its console and its keyboard.

use super::values::{Secret, Vm};
use super::vm::same;
use super::{Form, Param, Ty, Verb};
use crate::script::fault::{Ret, mistake, place};
use crate::script::stage::Words;
use rhai::{ImmutableString, NativeCallContext};

type Ctx<'a> = NativeCallContext<'a>;

/// The verbs.
pub static VERBS: &[Verb] = &[
    Verb {
        form: Form::Method(Ty::Vm),
        name: "send",
        params: &[Param::must("text", Ty::Words)],
        returns: Ty::Vm,
        proves: false,
        doc: "Types this text on the guest's serial console, as it is; a line ends with `\\n`.",
        example: "vm.send(\"root\\n\");",
        register: |e, _| {
            e.register_fn("send", |c: Ctx<'_>, vm: &mut Vm, text: ImmutableString| {
                let sent = vm.stage.send(vm.id, &text.as_str().into(), place(&c));
                same(&c, vm, sent)
            });
            e.register_fn("send", |c: Ctx<'_>, vm: &mut Vm, text: Secret| {
                let sent = vm.stage.send(vm.id, &text.0, place(&c));
                same(&c, vm, sent)
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "keys",
        params: &[Param::must("names", Ty::Text)],
        returns: Ty::Vm,
        proves: false,
        doc: "Presses keys of the guest's keyboard: names joined by `-` together, those with blanks between one after another. Letters, digits, `f1` to `f12`, `enter`, `esc`, \
              `space`, `tab`, `backspace`, `del`, `insert`, `home`, `end`, `pgup`, `pgdn`, `up`, `down`, `left`, `right`, `ctrl`, `alt`, `shift`, `win`.",
        example: "vm.keys(\"down down enter\").keys(\"ctrl-alt-del\");",
        register: |e, _| {
            e.register_fn("keys", |c: Ctx<'_>, vm: &mut Vm, names: ImmutableString| {
                match qemu::chords_of(&names) {
                    Ok(chords) => same(&c, vm, vm.stage.keys(vm.id, &names, &chords, place(&c))),
                    Err(bad) => {
                        mistake(&c, format!("keys({names:?}): {bad}"), "ctrl-alt-del, f12, down down enter")
                    }
                }
            });
        },
    },
    Verb {
        form: Form::Method(Ty::Vm),
        name: "type_text",
        params: &[Param::must("text", Ty::Words)],
        returns: Ty::Vm,
        proves: false,
        doc: "Types this text on the guest's keyboard, which has the US layout; `\\n` is Enter. For a guest that listens on its screen; `send` types on the serial console.",
        example: "vm.type_text(\"root\\n\");",
        register: |e, _| {
            e.register_fn("type_text", |c: Ctx<'_>, vm: &mut Vm, text: ImmutableString| {
                type_text(&c, vm, &text.as_str().into())
            });
            e.register_fn("type_text", |c: Ctx<'_>, vm: &mut Vm, text: Secret| type_text(&c, vm, &text.0));
        },
    },
];

fn type_text(c: &Ctx<'_>, vm: &Vm, text: &Words) -> Ret<Vm> {
    match qemu::keys_for(text.sent()) {
        Ok(chords) => same(c, vm, vm.stage.type_text(vm.id, text, &chords, place(c))),
        Err(bad) => {
            mistake(c, format!("type_text({text:?}): {bad}"), "send types any text, on the serial console")
        }
    }
}
