//! Calls: does it exist, does it take that many, does it take those.

use super::Arg;
use super::walk::Walk;
use crate::script::api::repeat::policy_of;
use crate::script::api::{Form, Ty, Verb, nearest, verbs};
use crate::script::engine::WITHOUT_FUNCTIONS;
use crate::script::header::literal;
use crate::script::options::{Kind, OptionSet};
use crate::script::source::Pos;
use rhai::{Dynamic, Expr, FnCallExpr, Map, Position};

impl Walk<'_> {
    /// `name(…)`.
    pub(super) fn function(&mut self, call: &FnCallExpr, at: Position) -> Ty {
        let given: Vec<Ty> = call.args.iter().map(|a| self.expr(a)).collect();
        let name = call.name.as_str();
        if call.op_token.is_some() {
            return if ["==", "!=", "<", ">", "<=", ">=", "!"].contains(&name) { Ty::Bool } else { Ty::Any };
        }
        if self.own.contains_key(name) {
            self.own_arity(name, given.len(), at);
            return Ty::Any;
        }
        if let Some(verb) = verbs().find(|v| v.form == Form::Function && v.name == name) {
            return self.verb(verb, call, &given, at);
        }
        if let Some((_, instead)) = WITHOUT_FUNCTIONS.iter().find(|(n, _)| *n == name) {
            self.error(at, format!("{name} is not part of the scenario language"), (*instead).to_owned());
            return Ty::Any;
        }
        let Some(counts) = self.functions.get(name) else {
            let help = if let Some(verb) = verbs().find(|v| v.name == name) {
                format!("it belongs to a value: {}", verb.signature())
            } else {
                let names = verbs().filter(|v| v.form == Form::Function).map(|v| v.name);
                let known = names
                    .chain(self.own.keys().map(String::as_str))
                    .chain(self.functions.keys().map(String::as_str));
                suggestion(nearest(name, known))
            };
            self.error(at, format!("there is no function {name}"), help);
            return Ty::Any;
        };
        if !counts.contains(&given.len()) {
            self.error(
                at,
                format!("{name} is given {}", arguments(given.len())),
                wanted(counts.iter().copied()),
            );
        }
        Ty::Any
    }

    /// `value.name(…)`.
    pub(super) fn method(&mut self, on: Ty, call: &FnCallExpr, at: Position) -> Ty {
        let given: Vec<Ty> = call.args.iter().map(|a| self.expr(a)).collect();
        let name = call.name.as_str();
        let mine = |v: &&Verb| matches!(v.form, Form::Method(_)) && v.name == name;
        if let Some(verb) = verbs().filter(mine).find(|v| v.form == Form::Method(on)) {
            return self.verb(verb, call, &given, at);
        }
        let with_receiver = given.len() + 1;
        if self.own.contains_key(name) {
            // A method of the scenario's own: the receiver is `this`.
            self.own_arity(name, given.len(), at);
            return Ty::Any;
        }
        let everywhere = self.functions.get(name);
        let others: Vec<&Verb> = verbs().filter(mine).collect();
        match (on, others.as_slice()) {
            (Ty::Any, []) if everywhere.is_none() => {
                let names = verbs().filter(|v| matches!(v.form, Form::Method(_))).map(|v| v.name);
                self.error(at, format!("nothing has a verb {name}"), suggestion(nearest(name, names)));
                Ty::Any
            }
            (Ty::Any, [_, ..]) if everywhere.is_some_and(|c| c.contains(&with_receiver)) => {
                self.undecided(
                    at,
                    format!("what {name} is called on is known only when it runs, so it is not checked"),
                );
                Ty::Any
            }
            (Ty::Any, [only]) => {
                if let Form::Method(needs) = only.form {
                    self.undecided(
                        at,
                        format!("whether {name} is called on a {} is known only when it runs", needs.name()),
                    );
                }
                self.verb(only, call, &given, at)
            }
            (Ty::Any, [first, ..]) => {
                self.proves |= others.iter().any(|v| v.proves);
                self.undecided(
                    at,
                    format!("what {name} is called on is known only when it runs, so it is not checked"),
                );
                if others.iter().all(|v| v.returns == first.returns) { first.returns } else { Ty::Any }
            }
            (_, []) if everywhere.is_some() => {
                let counts = everywhere.into_iter().flatten();
                if counts.clone().all(|n| *n != with_receiver) {
                    let help = wanted(counts.filter_map(|n| n.checked_sub(1)));
                    self.error(at, format!("{name} is given {}", arguments(given.len())), help);
                }
                Ty::Any
            }
            (_, []) => {
                let of_it = verbs().filter(|v| v.form == Form::Method(on)).map(|v| v.name);
                self.error(at, format!("{} has no verb {name}", on.name()), suggestion(nearest(name, of_it)));
                Ty::Any
            }
            (_, [other, ..]) => {
                self.error(
                    at,
                    format!("{} has no verb {name}", on.name()),
                    format!("it is {}", other.signature()),
                );
                other.returns
            }
        }
    }

    /// `value.name`.
    pub(super) fn property(&mut self, on: Ty, name: &str, at: Position) -> Ty {
        if let Some(verb) = verbs().find(|v| v.form == Form::Property(on) && v.name == name) {
            return verb.returns;
        }
        if matches!(on, Ty::Any | Ty::Options) {
            return Ty::Any;
        }
        let of_it = verbs().filter(|v| v.form == Form::Property(on)).map(|v| v.name);
        let help = match verbs().find(|v| v.form == Form::Method(on) && v.name == name) {
            Some(verb) => format!("it is a verb: {}", verb.signature()),
            None => suggestion(nearest(name, of_it)),
        };
        self.error(at, format!("{} has no property {name}", on.name()), help);
        Ty::Any
    }

    fn own_arity(&mut self, name: &str, given: usize, at: Position) {
        let Some(counts) = self.own.get(name) else { return };
        if !counts.contains(&given) {
            let help = wanted(counts.iter().copied());
            self.error(at, format!("{name} is given {}", arguments(given)), help);
        }
    }

    fn verb(&mut self, verb: &'static Verb, call: &FnCallExpr, given: &[Ty], at: Position) -> Ty {
        self.proves |= verb.proves;
        if !fits(verb, given.len()) {
            self.error(
                at,
                format!("{} is given {}", verb.name, arguments(given.len())),
                format!("it is {}", verb.signature()),
            );
            return verb.returns;
        }
        for ((param, expr), ty) in verb.params.iter().zip(&call.args).zip(given) {
            if let (Some(set), Expr::Map(..)) = (param.options, expr) {
                self.options(set, expr);
            } else if !accepts(param.ty, *ty) {
                let help = match param.ty {
                    Ty::Duration => Kind::Duration.wants(),
                    Ty::Bytes => Kind::Bytes.wants(),
                    _ => verb.signature(),
                };
                let message =
                    format!("{} of {} is {}, wanted {}", param.name, verb.name, ty.name(), param.ty.name());
                self.error(expr.position(), message, help);
            }
        }
        match verb.name {
            "drill" => self.drill_called(at),
            "fixture" => self.fixture(call),
            "secret" => self.secret(call, at),
            "arg" => return self.arg(call, given, at),
            _ => {}
        }
        verb.returns
    }

    fn options(&mut self, set: &'static OptionSet, map: &Expr) {
        let Expr::Map(entries, _) = map else { return };
        if set.verb == "repeat"
            && let Some(Err(bad)) = literal(map).and_then(Dynamic::try_cast::<Map>).map(|map| policy_of(&map))
        {
            return self.error(map.position(), bad.message, bad.help);
        }
        for (key, value) in &entries.0 {
            let result = set.find(key.name.as_str()).and_then(|opt| match literal(value) {
                Some(value) => opt.read(set.verb, &value).map(|_| ()),
                None => Ok(()),
            });
            if let Err(bad) = result {
                self.error(key.pos, bad.message, bad.help);
            }
        }
    }

    fn fixture(&mut self, call: &FnCallExpr) {
        let (Some(known), Some(Expr::StringConstant(name, at))) = (self.fixtures, call.args.first()) else {
            return;
        };
        if !known.contains(&name.as_str()) {
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("there are: {}", known.join(", ")),
            };
            self.error(*at, format!("there is no fixture {name}"), help);
        }
    }

    fn secret(&mut self, call: &FnCallExpr, at: Position) {
        let Some(known) = self.secrets else { return };
        match call.args.first() {
            Some(Expr::StringConstant(name, at)) if !known.contains(&name.as_str()) => {
                self.error(
                    *at,
                    format!("no secret named {name} was given"),
                    crate::script::api::free::give_secret(name),
                );
            }
            Some(Expr::StringConstant(..)) => {}
            _ => self.undecided(at, "which secret this is is known only when it runs".to_owned()),
        }
    }

    /// An argument gives what its default is; text may also be the path of an image.
    fn arg(&mut self, call: &FnCallExpr, given: &[Ty], at: Position) -> Ty {
        match call.args.first() {
            Some(Expr::StringConstant(name, at)) => {
                self.args.push(Arg { name: name.to_string(), pos: Pos::from_rhai(*at) });
            }
            _ => self.error(
                at,
                "the name of an argument is not literal".to_owned(),
                "write it out: arg(\"image\", …), so that --set can be checked before anything boots"
                    .to_owned(),
            ),
        }
        given.get(1).copied().unwrap_or(Ty::Any)
    }
}

fn fits(verb: &Verb, given: usize) -> bool {
    let (least, most) = verb.arity();
    (least..=most).contains(&given)
}

fn accepts(wanted: Ty, given: Ty) -> bool {
    wanted == Ty::Any
        || given == Ty::Any
        || wanted == given
        || (wanted == Ty::Image && given == Ty::Text)
        || (wanted == Ty::Words && matches!(given, Ty::Text | Ty::Secret))
}

fn arguments(n: usize) -> String {
    match n {
        0 => "no arguments".to_owned(),
        1 => "1 argument".to_owned(),
        n => format!("{n} arguments"),
    }
}

fn wanted(counts: impl Iterator<Item = usize>) -> String {
    format!("it takes {}", counts.map(|n| n.to_string()).collect::<Vec<_>>().join(" or "))
}

fn suggestion(near: Option<&str>) -> String {
    near.map_or("docs/scenario-reference.md lists every verb".to_owned(), |n| format!("did you mean {n}?"))
}
