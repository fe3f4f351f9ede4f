//! The functions that Rhai itself brings, as far as scenarios have them.

use crate::script::engine::WITHOUT_FUNCTIONS;
use rhai::Engine;
use std::collections::{BTreeMap, BTreeSet};

/// Name → how many arguments it may take, the receiver of a method counted.
pub type Functions = BTreeMap<String, BTreeSet<usize>>;

/// Words that Rhai's parser treats as functions and that no package lists, with their argument counts.
const KEYWORDS: [(&str, &[usize]); 8] = [
    ("print", &[0, 1]),
    ("debug", &[0, 1]),
    ("type_of", &[1]),
    ("Fn", &[1]),
    ("call", &[1, 2, 3, 4, 5, 6, 7, 8]),
    ("curry", &[2, 3, 4, 5, 6, 7, 8]),
    ("is_def_var", &[1]),
    ("is_shared", &[1]),
];

/// All of them, from the engine's own lists.
pub fn functions(engine: &Engine) -> Functions {
    let mut all = Functions::new();
    let listed = engine.collect_fn_metadata(
        None,
        |f| Some((f.metadata.name.to_string(), f.metadata.num_params)),
        true,
    );
    for (name, params) in listed {
        all.entry(name).or_default().insert(params);
    }
    for (name, counts) in KEYWORDS {
        all.entry(name.to_owned()).or_default().extend(counts);
    }
    for (name, _) in WITHOUT_FUNCTIONS {
        all.remove(name);
    }
    all
}
