//! Looking at a screen again and again: seldom enough to cost nothing, and keeping what is worth keeping.

use super::{Screen, UNREAD};
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

/// Between two looks, at least.
const LOOK: Duration = Duration::from_millis(1_500);
/// Between two looks, at most, however dear they are.
const MAX_LOOK: Duration = Duration::from_secs(15);
/// Looking may take one part in this many of the time. What QEMU does for it is within what is measured.
const SHARE: u32 = 100;
/// Looks that show the same before a screen counts as settled.
const SETTLED: u32 = 2;
/// Pictures of settled screens that are kept of one start; the last one on failure comes on top.
pub const MAX_SHOTS: usize = 12;

/// What one look brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Lines that were not told before, without those of which nothing can be read. The last line of the screen may be half
    /// written: it is told when the next look shows it again.
    pub lines: Vec<String>,
    /// It can no longer be read as text.
    pub no_text: bool,
    /// The screen has changed and stands still: worth a picture. The number of this picture, from 1.
    pub shot: Option<usize>,
}

/// What was seen last.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    raw: Option<u64>,
    screen: Option<Screen>,
    /// Looks in a row that read the same.
    same: u32,
    /// The last line of the screen at the last look.
    last: Option<String>,
    told: Vec<String>,
    /// What the last picture that was kept shows.
    kept: Option<u64>,
    shots: usize,
}

impl Watch {
    /// Takes one look: the bytes that QEMU gave, and how to read them, which is done only when they are new.
    pub fn look(&mut self, bytes: [&[u8]; 2], read: impl FnOnce() -> Screen) -> News {
        let raw = hash(bytes);
        if self.raw == Some(raw) {
            self.same = self.same.saturating_add(1);
            return News { lines: self.lines(), no_text: false, shot: self.shot() };
        }
        let screen = read();
        self.raw = Some(raw);
        // A blinking cursor changes the picture, not what can be read. Two pictures without text are different.
        let reads_the_same = matches!(screen, Screen::Text(_)) && self.screen.as_ref() == Some(&screen);
        self.same = if reads_the_same { self.same.saturating_add(1) } else { 1 };
        let no_text = !matches!(screen, Screen::Text(_));
        self.screen = Some(screen);
        News { lines: self.lines(), no_text, shot: self.shot() }
    }

    /// What the last look read.
    pub fn screen(&self) -> Option<&Screen> {
        self.screen.as_ref()
    }

    /// A number that stays the same while the same can be read; a blinking cursor changes nothing.
    pub fn shows(&self) -> Option<u64> {
        match self.screen.as_ref()? {
            Screen::Text(text) => Some(hash([text.rows.join("\n").as_bytes(), b"text"])),
            _ => self.raw,
        }
    }

    /// When to look again, after a look that took so long.
    pub fn pause(took: Duration) -> Duration {
        (took * SHARE).clamp(LOOK, MAX_LOOK)
    }

    fn lines(&mut self) -> Vec<String> {
        let Some(Screen::Text(text)) = &self.screen else {
            (self.last, self.told) = (None, Vec::new());
            return Vec::new();
        };
        let mut lines = text.lines();
        lines.retain(|line| line.chars().any(|c| c != ' ' && c != UNREAD));
        let before = std::mem::replace(&mut self.last, lines.last().cloned());
        if before != self.last {
            lines.pop();
        }
        let told = std::mem::replace(&mut self.told, lines.clone());
        lines.retain(|line| !told.contains(line));
        lines
    }

    fn shot(&mut self) -> Option<usize> {
        let shows = self.shows()?;
        if self.same != SETTLED || self.kept == Some(shows) || self.shots >= MAX_SHOTS {
            return None;
        }
        self.kept = Some(shows);
        self.shots = self.shots.saturating_add(1);
        Some(self.shots)
    }
}

fn hash(bytes: [&[u8]; 2]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.into_iter().for_each(|bytes| hasher.write(bytes));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::Text;
    use super::{LOOK, MAX_LOOK, MAX_SHOTS, News, Screen, Watch};
    use std::time::Duration;

    fn text(rows: &[&str]) -> Screen {
        Screen::Text(Text { rows: rows.iter().map(|l| (*l).to_owned()).collect(), columns: 80 })
    }

    const GRAPHICS: Screen = Screen::Graphics { width: 9, height: 9 };

    #[test]
    fn the_same_bytes_are_read_once_and_give_one_picture() {
        let mut watch = Watch::default();
        let news = watch.look([b"one", b""], || text(&["a", "", "\u{fffd}", "b"]));
        assert_eq!(news, News { lines: vec!["a".into()], no_text: false, shot: None });
        let again = |watch: &mut Watch| watch.look([b"one", b""], || panic!("read twice"));
        assert_eq!(again(&mut watch), News { lines: vec!["b".into()], no_text: false, shot: Some(1) });
        assert_eq!(again(&mut watch), News::default());
        assert_eq!(watch.screen(), Some(&text(&["a", "", "\u{fffd}", "b"])));
    }

    #[test]
    fn a_line_that_is_still_being_written_is_told_when_it_is_whole() {
        let mut watch = Watch::default();
        let mut look = |n: u8, rows: &[&str]| watch.look([&[n], b""], || text(rows)).lines;
        assert_eq!(look(1, &["BdsDxe: failed to start Boot0001"]), [""; 0]);
        assert_eq!(look(2, &["BdsDxe: failed to start Boot0001: Access Denied"]), [""; 0]);
        assert_eq!(look(3, &["BdsDxe: failed to start Boot0001: Access Denied", "x"]).len(), 1);
    }

    #[test]
    fn a_blinking_cursor_makes_no_second_picture() {
        let mut watch = Watch::default();
        let shots: Vec<_> =
            (0..6_u8).map(|n| watch.look([&[n % 2], b""], || text(&["login:"])).shot).collect();
        assert_eq!(shots, [None, Some(1), None, None, None, None]);
    }

    #[test]
    fn noise_is_never_kept_and_many_screens_are_bounded() {
        let mut watch = Watch::default();
        let noise = News { no_text: true, ..News::default() };
        assert!((0..200_u8).all(|n| watch.look([&[n], b""], || GRAPHICS) == noise));
        let mut kept = 0;
        for n in (0..200_u8).flat_map(|n| [n, n]) {
            kept += usize::from(watch.look([&[n], b""], || GRAPHICS).shot.is_some());
        }
        assert_eq!(kept, MAX_SHOTS);
    }

    #[test]
    fn a_dear_look_makes_the_next_one_late() {
        assert_eq!(Watch::pause(Duration::from_millis(5)), LOOK);
        assert_eq!(Watch::pause(Duration::from_millis(40)), Duration::from_secs(4));
        assert_eq!(Watch::pause(Duration::from_secs(9)), MAX_LOOK);
    }
}
