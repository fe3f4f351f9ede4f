//! What must never be written: secrets in the environment, and the patterns of a project.

use crate::world::Problem;
use drills::verdict::ExitCode;
use qemu::Redactor;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

/// `DRILL_SECRET_NAME=value`, `DRILL_SECRET_NAME_FILE=path`.
const PREFIX: &str = "DRILL_SECRET_";
const FILE: &str = "_FILE";
/// The patterns of a project, one a line, in the folder that drill is started in.
const PATTERNS: &str = ".drill/redact";
/// Most bytes of that file that are read.
const MAX_PATTERNS: u64 = 64 * 1024;

/// See the module.
#[derive(Default)]
pub struct Hidden {
    /// Secrets by their names.
    pub secrets: BTreeMap<String, String>,
    /// Knows all of it.
    pub redactor: Redactor,
}

/// All secrets of the environment and all patterns of the project. Every secret is hidden, whether a scenario asks for it or not.
pub fn hidden() -> Result<Hidden, Problem> {
    from(std::env::vars_os(), Path::new(PATTERNS))
}

fn from(variables: impl Iterator<Item = (OsString, OsString)>, patterns: &Path) -> Result<Hidden, Problem> {
    let mut hidden = Hidden::default();
    for (variable, value) in variables {
        let Some(name) = variable.to_str().and_then(|v| v.strip_prefix(PREFIX)) else { continue };
        let bad = |why: String| Problem::new(ExitCode::Usage, format!("{PREFIX}{name}: {why}"));
        let (name, value) = match name.strip_suffix(FILE) {
            Some(name) => (
                name,
                read(Path::new(&value)).map_err(|e| bad(format!("{}: {e}", Path::new(&value).display())))?,
            ),
            None => (name, value.into_string().map_err(|_| bad("it is not UTF-8".into()))?),
        };
        if name.is_empty() {
            return Err(bad("a secret has a name".into()));
        }
        if hidden.secrets.contains_key(name) {
            return Err(bad(format!("{PREFIX}{name} and {PREFIX}{name}{FILE} are both set"))
                .next("unset one of them"));
        }
        hidden.redactor.hide(name, &value).map_err(|e| bad(e.to_string()))?;
        hidden.secrets.insert(name.to_owned(), value);
    }
    for (number, line) in lines(patterns)?.lines().enumerate() {
        let pattern = line.trim();
        if pattern.is_empty() || pattern.starts_with('#') {
            continue;
        }
        let at = format!("{}:{}", patterns.display(), number.saturating_add(1));
        hidden.redactor.pattern(pattern).map_err(|e| {
            Problem::new(ExitCode::Usage, format!("{at}: {pattern:?} is not a pattern to redact by: {e}"))
                .next("one regular expression a line, that matches one character at least; # begins a remark")
        })?;
    }
    Ok(hidden)
}

/// A secret's file, without the newline at its end.
fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(qemu::redact::MAX_SECRET).unwrap_or(u64::MAX).saturating_add(2);
    std::fs::File::open(path)?.take(most).read_to_string(&mut text)?;
    let end = text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t)).len();
    text.truncate(end);
    Ok(text)
}

fn lines(path: &Path) -> Result<String, Problem> {
    let bad = |e: &dyn std::fmt::Display| Problem::new(ExitCode::Usage, format!("{}: {e}", path.display()));
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(bad(&e)),
        Ok(meta) if meta.len() > MAX_PATTERNS => {
            Err(bad(&format!("{} bytes, wanted {MAX_PATTERNS} at most", meta.len())))
        }
        Ok(_) => std::fs::read_to_string(path).map_err(|e| bad(&e)),
    }
}
