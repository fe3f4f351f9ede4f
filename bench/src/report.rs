//! What came out, for people and as Markdown.

use crate::case::{Case, NotPerformed};
use crate::rounds::{Outcome, Side};
use crate::stats::Spread;

/// Everything that was measured so far.
pub struct Report {
    head: Vec<String>,
    markdown: String,
}

impl Report {
    /// An empty one, about this machine.
    pub fn new(mut head: Vec<String>, pairs: usize, quick: bool) -> Report {
        let small = if quick { ", smaller disks (--quick): not to judge by" } else { "" };
        head.push(format!("{pairs} interleaved rounds; medians, quartiles in brackets{small}"));
        Report { head, markdown: String::new() }
    }

    /// The machine, before anything is measured.
    pub fn print_head(&self) {
        self.head.iter().for_each(|line| println!("{line}"));
    }

    /// One case came to its end.
    pub fn add(&mut self, case: &Case, outcome: &Outcome) {
        println!("\n{} ({}, {} cache)", case.name, case.what, case.cache.name());
        self.markdown += &format!("\n### {}\n\n{}; {} cache.\n\n", case.name, case.what, case.cache.name());
        self.markdown += "| | wall, s | drill is faster | CPU, s | peak memory |\n|---|---|---|---|---|\n";
        for (i, side) in outcome.sides.iter().enumerate() {
            let ratio = if i == 0 { String::new() } else { ratio(outcome, i) };
            let memory = format!("{:.1} MiB", side.memory as f64 / f64::from(1 << 20));
            let (wall, cpu) = (spread(side.wall), format!("{:.2}", side.cpu.median));
            println!("  {:44} {wall:28} CPU {cpu:>7} s  {memory:>10}  {ratio}", side.name);
            self.markdown += &format!("| {} | {wall} | {ratio} | {cpu} | {memory} |\n", side.name);
        }
        self.markdown += "\n";
        for demand in &case.demands {
            let (what, met) = demand.judge(outcome);
            let verdict = if met { "MET" } else { "NOT MET" };
            println!("  {verdict:8} {what}");
            self.markdown += &format!("- **{verdict}** {what}\n");
        }
    }

    /// One case could not be performed.
    pub fn not_performed(&mut self, case: &Case, why: &NotPerformed) {
        println!("\n{} ({})\n  {why}", case.name, case.what);
        self.markdown += &format!("\n### {}\n\n{}.\n\n- **{why}**\n", case.name, case.what);
    }

    /// All of it as Markdown.
    pub fn markdown(&self) -> String {
        let head: String = self.head.iter().map(|line| format!("- {line}\n")).collect();
        format!("{head}{}", self.markdown)
    }
}

/// The ratio of the medians, and the median of the rounds' ratios.
fn ratio(outcome: &Outcome, other: usize) -> String {
    let median = |side: Option<&Side>| side.map_or(0.0, |s| s.wall.median);
    let of_medians = median(outcome.sides.get(other)) / median(outcome.sides.first());
    let Spread { low, median, high } = outcome.ratios(other);
    format!("{median:.2} × [{low:.2}, {high:.2}]; of the medians {of_medians:.2} ×")
}

fn spread(s: Spread) -> String {
    format!("{:.3} [{:.3}, {:.3}]", s.median, s.low, s.high)
}
