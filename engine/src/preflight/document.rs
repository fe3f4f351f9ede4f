//! `docs/preflight.md`, and what `drill explain` prints: all from the same rows.

use super::{PROFILES, Profile, Rule, Source, Weight};
use std::fmt::{self, Write};

/// The whole reference, as Markdown.
pub fn document() -> String {
    let mut out = String::from(
        "# Preflight: profiles and rules\n\n\
         <!-- Written from the rules in engine/src/preflight. Regenerate: UPDATE_DOCS=1 cargo test -p engine --test preflight -->\n\n\
         Before a disk is converted, every rule of a profile is asked, and all that is found is told at once, before anything is written. A *blocker* \
         refuses the conversion, a *warning* and a *note* are shown. What cannot be told (a file that cannot be read, a limit that its source \
         leaves open) is shown as *not clear* and refuses nothing.\n\n\
         - `drill convert IN OUT --to gen1 --profile NAME`; without `--profile` it is `lab`.\n\
         - `drill inspect IMAGE --profile NAME` shows what a profile finds.\n\
         - `machine.test_failover(#{ profile: \"NAME\" })` in a scenario; findings are in the report.\n\
         - `drill explain` lists all of this, `drill explain NAME` tells one profile or rule; both with `--json`.\n\n\
         A profile of a service is what that service *documented* at a date: its envelope, not its method, and not what `drill` can do. Where \
         texts disagree, each is a profile of its own. `lab` is what `drill` itself can convert.\n\n\
         ## Ready for Azure\n\n\
         `drill inspect` and `drill convert --dry-run` also say whether the guest, made Generation 1, would start in Azure and could be reached there. \
         It is judged from bytes alone and is never merged with a boot in the lab: there is no VMBus there. The verdict is *ready*, *not ready* with \
         every reason, or *unknown* with what could not be read: an initramfs that cannot be unpacked is never taken for one without drivers. The \
         rules of `azure-gen1` marked **must** decide it; those marked *should* are what Azure's documentation asks for and guests start without.\n\n\
         Kernel modules count as there when they are built in (`modules.builtin` of that kernel's version on the root file system, else `config-VERSION` beside the \
         kernel) or in the initramfs, for each boot entry: plain, gzip, xz, zstd and lz4 archives, several one after another, early microcode in front.\n\n",
    );
    for profile in &PROFILES {
        let _ =
            write!(out, "## {}\n\n{}, {}. {}\n\n", profile.id, profile.title, profile.date, profile.about);
        listed(&mut out, "No source says", profile.silent);
        listed(&mut out, "A disk does not show", profile.unseen);
        let mut sources: Vec<Source> = Vec::new();
        out.push_str("| Rule | | It says | Checks | Fix | Source |\n| --- | --- | --- | --- | --- | --- |\n");
        for rule in profile.rules {
            let known = sources.iter().position(|s| *s == rule.source);
            let number = known.unwrap_or_else(|| {
                sources.push(rule.source);
                sources.len() - 1
            });
            let fix = if rule.fix.is_empty() { "Nothing." } else { rule.fix };
            let (says, checks) = (rule.text, rule.checks);
            let _ = writeln!(
                out,
                "| `{}` | {} | {says} | {checks} | {fix} | {} |",
                rule.id,
                severity(rule),
                number + 1
            );
        }
        out.push_str("\nSources:\n\n");
        for (number, source) in (1..).zip(&sources) {
            let _ = writeln!(out, "{number}. {}; {}; `{}`", source.what, source.date, source.address);
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn severity(rule: &Rule) -> String {
    let azure = match rule.azure {
        Some(Weight::Must) => ", **must**",
        Some(Weight::Should) => ", *should*",
        None => "",
    };
    format!("{}{azure}", rule.severity.word())
}

fn listed(out: &mut String, title: &str, lines: &[&str]) {
    if lines.is_empty() {
        return;
    }
    let _ = write!(out, "{title}:\n\n");
    for line in lines {
        let _ = writeln!(out, "- {line}");
    }
    out.push('\n');
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.id)?;
        writeln!(f, "  says      {}", self.text)?;
        writeln!(f, "  checks    {}", self.checks)?;
        writeln!(f, "  severity  {}", self.severity.word())?;
        let azure = match self.azure {
            Some(Weight::Must) => "a guest that breaks it is not ready for Azure",
            Some(Weight::Should) => "advice: guests start there without it",
            None => "does not count",
        };
        writeln!(f, "  azure     {azure}")?;
        writeln!(f, "  source    {}", self.source.what)?;
        writeln!(f, "            {}, {}", self.source.date, self.source.address)?;
        writeln!(f, "  fix       {}", if self.fix.is_empty() { "nothing needs to be done" } else { self.fix })
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({}, {})", self.id, self.title, self.date)?;
        writeln!(f, "  {}", self.about)?;
        for (title, lines) in [("no source says", self.silent), ("a disk does not show", self.unseen)] {
            if !lines.is_empty() {
                writeln!(f, "  {title}:")?;
            }
            for line in lines {
                writeln!(f, "    {line}")?;
            }
        }
        writeln!(f, "  rules:")?;
        for rule in self.rules {
            writeln!(f, "    {:<8} {:<34} {}", rule.severity.word(), rule.id, rule.text)?;
        }
        Ok(())
    }
}
