//! How far a long copy is, for a person: a bar on a terminal, a line now and then elsewhere. Always on standard error.

use humansize::{BINARY, format_size};
use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time between two pictures of the bar.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// Time between two plain lines: seldom enough for the log of a CI job.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Over which time the rate is measured.
const RATE_SPAN: Duration = Duration::from_secs(5);
/// Cells of the bar.
const CELLS: u64 = 24;

/// Who looks.
enum Look {
    Bar,
    Lines,
    Nobody,
}

/// Columns of a terminal that does not tell.
const COLUMNS: usize = 80;

/// Shows the progress of one action.
pub struct Meter {
    what: &'static str,
    look: Look,
    began: Instant,
    shown: Option<Instant>,
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// A meter; `quiet` shows nothing.
    pub fn new(quiet: bool) -> Meter {
        let look = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Look::Nobody,
            (false, true) => Look::Bar,
            (false, false) => Look::Lines,
        };
        Meter { what: "", look, began: Instant::now(), shown: None, samples: VecDeque::new() }
    }

    /// Note that `done` of `total` bytes of a part of the work, such as `copying`, are behind us. A new part has a rate of its own.
    pub fn show(&mut self, what: &'static str, done: u64, total: u64) {
        if self.what != what {
            (self.what, self.began) = (what, Instant::now());
            self.samples.clear();
        }
        let every = match self.look {
            Look::Nobody => return,
            Look::Bar => BAR_EVERY,
            Look::Lines => LINE_EVERY,
        };
        let now = Instant::now();
        // The first plain line comes when the action turns out to be long; a bar is there at once.
        let last = self.shown.or(matches!(self.look, Look::Lines).then_some(self.began));
        if total == 0 || last.is_some_and(|t| now.duration_since(t) < every) {
            return;
        }
        self.shown = Some(now);
        let seconds = self.seconds_and_bytes(now, done);
        let line = line(self.what, done, total, seconds);
        let mut err = std::io::stderr().lock();
        // Nobody to show it to is no reason to stop.
        let _ = match self.look {
            Look::Bar => write!(err, "\r\x1b[K{}", fitted(&bar(done, total), &line, columns())),
            _ => writeln!(err, "  {line}"),
        };
        let _ = err.flush();
    }

    /// Take the bar away.
    pub fn end(&mut self) {
        if matches!(self.look, Look::Bar) && self.shown.is_some() {
            let mut err = std::io::stderr().lock();
            let _ = write!(err, "\r\x1b[K").and_then(|()| err.flush());
        }
    }

    /// The span over which the rate is measured, and the bytes in it.
    fn seconds_and_bytes(&mut self, now: Instant, done: u64) -> (f64, u64) {
        self.samples.push_back((now, done));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(t, _)| now - *t > RATE_SPAN) {
            self.samples.pop_front();
        }
        let (from, before) = match self.samples.front() {
            Some((t, bytes)) if *t < now => (*t, *bytes),
            _ => (self.began, 0),
        };
        (now.duration_since(from).as_secs_f64(), done.saturating_sub(before))
    }
}

/// Columns of the terminal on standard error.
fn columns() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(COLUMNS, |size| usize::from(size.ws_col)).max(1)
}

/// Bar and text on one row: without the bar where there is no room for both, cut where there is none for the text. A row that is full to its last
/// column may wrap, so one stays free.
fn fitted(bar: &str, line: &str, columns: usize) -> String {
    let room = columns.saturating_sub(1);
    let both = format!("  [{bar}] {line}");
    if both.chars().count() <= room { both } else { line.chars().take(room).collect() }
}

fn bar(done: u64, total: u64) -> String {
    let full = (u128::from(done) * u128::from(CELLS) / u128::from(total.max(1))).min(u128::from(CELLS));
    (0..CELLS).map(|cell| if u128::from(cell) < full { '#' } else { '.' }).collect()
}

/// `copying  37 %  1.5 GiB of 4 GiB  612 MiB/s  4 s left`
fn line(what: &str, done: u64, total: u64, (seconds, bytes): (f64, u64)) -> String {
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    let size = |n: u64| format_size(n, BINARY.decimal_places(1));
    let mut line = format!("{what} {percent:>3} %  {} of {}", size(done), size(total));
    if seconds > 0.0 && bytes > 0 {
        let rate = bytes as f64 / seconds;
        line +=
            &format!("  {}/s  {} left", size(rate as u64), left(total.saturating_sub(done) as f64 / rate));
    }
    line
}

fn left(seconds: f64) -> String {
    let seconds = seconds.ceil().min(359_999_999.0) as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::{bar, fitted, left, line};

    #[test]
    fn a_line_tells_bytes_rate_and_time_left() {
        let gib = 1u64 << 30;
        assert_eq!(
            line("copying", gib + gib / 2, 4 * gib, (2.0, gib)),
            "copying  37 %  1.5 GiB of 4 GiB  512 MiB/s  5 s left"
        );
        assert_eq!(line("copying", 0, gib, (0.0, 0)), "copying   0 %  0 B of 1 GiB");
        assert_eq!(line("copying", 0, 0, (1.0, 0)), "copying   0 %  0 B of 0 B");
    }

    #[test]
    fn a_bar_is_as_full_as_it_must_be() {
        assert_eq!(bar(0, 10), ".".repeat(24));
        assert_eq!(bar(5, 10), format!("{}{}", "#".repeat(12), ".".repeat(12)));
        assert_eq!(bar(11, 10), "#".repeat(24));
        assert_eq!(bar(u64::MAX, u64::MAX), "#".repeat(24));
    }

    #[test]
    fn times_are_told_as_people_tell_them() {
        for (seconds, want) in [
            (0.2, "1 s"),
            (59.0, "59 s"),
            (61.0, "1 min 01 s"),
            (3600.0, "1 h 00 min"),
            (f64::MAX, "99999 h 59 min"),
        ] {
            assert_eq!(left(seconds), want);
        }
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let text = line("reading back", 170 << 20, 1 << 30, (1.0, 1 << 30));
        for columns in [1, 10, 40, 80, 100, 200] {
            let shown = fitted(&bar(1, 6), &text, columns);
            assert!(shown.chars().count() < columns.max(1), "{columns}: {shown:?}");
            assert_eq!(shown.contains('['), columns > 90, "{columns}: {shown:?}");
        }
    }
}
