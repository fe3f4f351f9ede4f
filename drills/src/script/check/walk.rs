//! The walk over statements and expressions: scopes, what a name holds, and whether a value is used.

use super::known::Functions;
use super::{Arg, Given};
use crate::script::api::Ty;
use crate::script::diagnostic::{Diagnostic, Severity};
use crate::script::source::Pos;
use rhai::{AST, ASTNode, Expr, FlowControl, Position, Stmt, StmtBlock};
use std::collections::{BTreeMap, BTreeSet};

/// How Rhai's names of closures begin.
const CLOSURE: &str = "anon$";

/// The state of one walk.
pub struct Walk<'a> {
    /// Findings so far.
    pub diagnostics: Vec<Diagnostic>,
    /// Arguments so far.
    pub args: Vec<Arg>,
    /// Whether a proving verb was seen.
    pub proves: bool,
    pub(super) functions: &'a Functions,
    /// The scenario's own functions: name → argument counts.
    pub(super) own: BTreeMap<String, BTreeSet<usize>>,
    pub(super) fixtures: Option<&'a [&'a str]>,
    pub(super) secrets: Option<&'a [&'a str]>,
    /// Names that are given a value more than once: what they hold is not followed.
    reassigned: BTreeSet<String>,
    scopes: Vec<BTreeMap<String, Ty>>,
    in_closure: bool,
    drills: usize,
}

impl<'a> Walk<'a> {
    /// A walk over `ast`.
    pub fn new(ast: &AST, functions: &'a Functions, given: Given<'a>) -> Walk<'a> {
        let mut own: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for f in ast.iter_functions() {
            own.entry(f.name.to_owned()).or_default().insert(f.params.len());
        }
        let mut reassigned = BTreeSet::new();
        ast.walk(&mut |path: &[ASTNode<'_>]| {
            if let Some(ASTNode::Stmt(Stmt::Assignment(pair))) = path.last()
                && let Expr::Variable(name, ..) = &pair.1.lhs
            {
                reassigned.insert(name.1.to_string());
            }
            true
        });
        Walk {
            diagnostics: Vec::new(),
            args: Vec::new(),
            proves: false,
            functions,
            own,
            fixtures: given.fixtures,
            secrets: given.secrets,
            reassigned,
            scopes: vec![BTreeMap::new()],
            in_closure: false,
            drills: 0,
        }
    }

    /// Walks all of it.
    pub fn run(&mut self, ast: &AST) {
        self.statements(ast.statements(), false);
        for (closure, body) in bodies(ast) {
            let outer = std::mem::replace(&mut self.scopes, vec![BTreeMap::new()]);
            self.in_closure = closure;
            // The last statement of a function is its value.
            self.statements(&body, true);
            self.in_closure = false;
            self.scopes = outer;
        }
    }

    pub(super) fn error(&mut self, at: Position, message: String, help: String) {
        self.diagnostics.push(Diagnostic::error(Pos::from_rhai(at), message).with_help(help));
    }

    pub(super) fn undecided(&mut self, at: Position, message: String) {
        // What a closure takes from around it is not followed; to say so at each of its calls helps nobody.
        if self.in_closure {
            return;
        }
        self.diagnostics.push(Diagnostic::new(Severity::Undecided, Pos::from_rhai(at), message));
    }

    pub(super) fn drill_called(&mut self, at: Position) {
        self.drills += 1;
        if self.drills == 2 {
            self.error(
                at,
                "a second drill(…)".to_owned(),
                "a scenario is one drill; use step(\"…\") for its parts".to_owned(),
            );
        }
    }

    fn block(&mut self, block: &StmtBlock, used: bool) {
        self.scopes.push(BTreeMap::new());
        self.statements(block.statements(), used);
        self.scopes.pop();
    }

    fn statements(&mut self, list: &[Stmt], used: bool) {
        for (i, stmt) in list.iter().enumerate() {
            self.statement(stmt, used && i + 1 == list.len());
        }
    }

    /// `used`: whether the value of this statement goes somewhere.
    fn statement(&mut self, stmt: &Stmt, used: bool) {
        match stmt {
            Stmt::If(flow, _) => {
                self.expr(&flow.expr);
                self.block(&flow.body, used);
                self.block(&flow.branch, used);
            }
            Stmt::Switch(parts, _) => {
                self.expr(&parts.0);
                for arm in &parts.1.expressions {
                    self.expr(&arm.lhs);
                    self.expr(&arm.rhs);
                }
            }
            Stmt::While(flow, _) | Stmt::Do(flow, _, _) => self.flow(flow),
            Stmt::For(parts, _) => {
                self.expr(&parts.2.expr);
                self.block(&parts.2.body, false);
            }
            Stmt::Var(parts, _, _) => {
                let ty = self.expr(&parts.1);
                self.set(&parts.0.name, ty);
            }
            Stmt::Assignment(parts) => {
                self.expr(&parts.1.lhs);
                self.expr(&parts.1.rhs);
            }
            Stmt::FnCall(call, at) => {
                self.dropped(&call.name, *at, used);
                self.function(call, *at);
            }
            Stmt::Block(block) => self.block(block, used),
            Stmt::TryCatch(flow, _) => {
                self.block(&flow.body, false);
                self.block(&flow.branch, false);
            }
            Stmt::Expr(e) => {
                if let Some((name, at)) = last_call(e) {
                    self.dropped(name, at, used);
                }
                self.expr_in(e, used);
            }
            Stmt::Return(value, flags, _) => {
                // `throw` fails the drill with its own words.
                self.proves |= flags.intersects(rhai::ASTFlags::BREAK);
                if let Some(e) = value {
                    self.expr(e);
                }
            }
            Stmt::BreakLoop(Some(e), _, _) => {
                self.expr(e);
            }
            _ => {}
        }
    }

    fn flow(&mut self, flow: &FlowControl) {
        self.expr(&flow.expr);
        self.block(&flow.body, false);
    }

    fn dropped(&mut self, name: &str, at: Position, used: bool) {
        if name.starts_with("check_") && !used {
            self.error(
                at,
                format!("the answer of {name} is dropped"),
                format!("look at it: if !{name}(…) {{ fail(\"…\"); }}, or use a verb that decides itself: assert_…, wait_…, run"),
            );
        }
    }

    /// Walks an expression whose value is used; says what it gives.
    pub(super) fn expr(&mut self, e: &Expr) -> Ty {
        self.expr_in(e, true)
    }

    fn expr_in(&mut self, e: &Expr, used: bool) -> Ty {
        match e {
            Expr::IntegerConstant(..) => Ty::Number,
            Expr::BoolConstant(..) => Ty::Bool,
            Expr::StringConstant(..) => Ty::Text,
            Expr::Unit(..) => Ty::Nothing,
            Expr::InterpolatedString(parts, _) => {
                self.all(parts.iter());
                Ty::Text
            }
            Expr::Array(parts, _) => {
                self.all(parts.iter());
                Ty::Any
            }
            Expr::Map(parts, _) => {
                self.all(parts.0.iter().map(|(_, value)| value));
                Ty::Options
            }
            Expr::And(parts, _) | Expr::Or(parts, _) => {
                self.all(parts.iter());
                Ty::Bool
            }
            Expr::Coalesce(parts, _) => {
                self.all(parts.iter());
                Ty::Any
            }
            Expr::Variable(name, _, _) => self.get(&name.1),
            Expr::Stmt(block) => {
                self.block(block, used);
                Ty::Any
            }
            Expr::FnCall(call, at) => self.function(call, *at),
            Expr::Dot(pair, ..) => {
                let on = self.expr(&pair.lhs);
                self.chain(on, &pair.rhs)
            }
            Expr::Index(pair, flags, _) => {
                self.expr(&pair.lhs);
                self.behind_index(&pair.rhs, flags.contains(rhai::ASTFlags::BREAK));
                Ty::Any
            }
            _ => Ty::Any,
        }
    }

    fn all<'e>(&mut self, parts: impl Iterator<Item = &'e Expr>) {
        for part in parts {
            self.expr(part);
        }
    }

    /// What follows a dot.
    fn chain(&mut self, on: Ty, rhs: &Expr) -> Ty {
        match rhs {
            Expr::MethodCall(call, at) | Expr::FnCall(call, at) => self.method(on, call, *at),
            Expr::Property(name, at) => self.property(on, &name.2, *at),
            Expr::Dot(pair, ..) => {
                let next = self.chain(on, &pair.lhs);
                self.chain(next, &pair.rhs)
            }
            Expr::Index(pair, flags, _) => {
                self.chain(on, &pair.lhs);
                self.behind_index(&pair.rhs, flags.contains(rhai::ASTFlags::BREAK));
                Ty::Any
            }
            _ => Ty::Any,
        }
    }

    /// `a[i].b()` comes as `a` indexed by `i.b()`: the first link is the index, the rest a chain on what is found there.
    fn behind_index(&mut self, rhs: &Expr, ends: bool) {
        match rhs {
            Expr::Dot(pair, ..) if !ends => {
                self.expr(&pair.lhs);
                self.chain(Ty::Any, &pair.rhs);
            }
            Expr::Index(pair, flags, _) if !ends => {
                self.expr(&pair.lhs);
                self.behind_index(&pair.rhs, flags.contains(rhai::ASTFlags::BREAK));
            }
            other => {
                self.expr(other);
            }
        }
    }

    fn get(&self, name: &str) -> Ty {
        self.scopes.iter().rev().find_map(|s| s.get(name)).copied().unwrap_or(Ty::Any)
    }

    fn set(&mut self, name: &str, ty: Ty) {
        let ty = if self.reassigned.contains(name) { Ty::Any } else { ty };
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), ty);
        }
    }
}

/// The call that gives an expression its value, when it is one.
fn last_call(e: &Expr) -> Option<(&str, Position)> {
    match e {
        Expr::FnCall(call, at) | Expr::MethodCall(call, at) => Some((call.name.as_str(), *at)),
        Expr::Dot(pair, ..) => last_call(&pair.rhs),
        _ => None,
    }
}

/// The bodies of the scenario's functions, and whether each is a closure. Rhai keeps a body behind a type without a public name, so the statements come from its own walk
/// and are sorted into the functions by place: each belongs to the smallest one around it (a closure lies inside another function).
fn bodies(ast: &AST) -> Vec<(bool, Vec<Stmt>)> {
    let spans: Vec<(Position, Position)> = ast
        .shared_lib()
        .iter_script_fn_info()
        .map(|(_, _, _, _, f)| (f.body.start_position(), f.body.end_position()))
        .collect();
    let closures: Vec<bool> =
        ast.shared_lib().iter_script_fn_info().map(|(.., f)| f.name.starts_with(CLOSURE)).collect();
    let mut bodies = vec![Vec::new(); spans.len()];
    let mut main = ast.statements().len();
    ast.walk(&mut |path: &[ASTNode<'_>]| {
        if let [ASTNode::Stmt(stmt)] = path {
            // The walk begins with the statements outside functions.
            if main > 0 {
                main -= 1;
                return true;
            }
            let at = stmt.position();
            let around = spans.iter().zip(&mut bodies).filter(|((from, to), _)| *from <= at && at <= *to);
            if let Some((_, body)) = around.max_by_key(|((from, _), _)| *from) {
                body.push((*stmt).clone());
            }
        }
        true
    });
    closures.into_iter().zip(bodies).collect()
}
