use super::{MAX_SECRET, RedactError, Redactor};
use crate::screen::{Screen, Text};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

fn hiding(values: &[&str]) -> Redactor {
    let redactor = Redactor::default();
    for (n, value) in values.iter().enumerate() {
        redactor.hide(&format!("S{n}"), value).unwrap();
    }
    redactor
}

#[track_caller]
fn check(redactor: &Redactor, text: &str, expect: &str) {
    assert_eq!(redactor.text(text), expect, "{text:?}");
}

#[test]
fn a_secret_is_found_however_a_terminal_writes_it() {
    let r = hiding(&["hunter2"]);
    check(&r, "password hunter2 taken", "password [secret S0] taken");
    check(&r, "hunter2hunter2", "[secret S0][secret S0]");
    check(&r, "hunt\r\ner2!", "[secret S0]!");
    check(&r, "hu\x1b[31mnt\x1b[0mer2", "[secret S0]");
    check(&r, "hu\x1b]0;title\x07nter2", "[secret S0]");
    // busybox and readline draw the first character of the next row twice.
    check(&r, "hunte\x08er2", "[secret S0]");
    check(&r, "aHVudGVyMg==", "[secret S0]");
    check(&r, "hunter is not hunted", "hunter is not hunted");
    check(&r, "huhunter2", "hu[secret S0]");
}

#[test]
fn the_beginning_of_a_secret_at_the_end_is_cut_from_half_of_it_on() {
    let r = hiding(&["hunter2"]);
    check(&r, "password hunter", "password [secret, cut]");
    check(&r, "the hun", "the hun");
}

#[test]
fn the_longest_secret_wins_and_lines_of_a_key_count_alone() {
    let r = hiding(&["abcd", "abcdefgh", "-----BEGIN KEY-----\nMIIEvgIBADANBg\n-----END KEY-----\n"]);
    check(&r, "abcdefgh abcdefg", "[secret S1] [secret S0]efg");
    check(&r, "> MIIEvgIBADANBg\n", "> [secret S2]\n");
}

#[test]
fn patterns_see_a_line_as_it_looks() {
    let r = Redactor::default();
    r.pattern(r"token=\S+").unwrap();
    r.pattern(r"\b\d{3}-\d{2}\b").unwrap();
    check(&r, "a token=x1 b\ntoken=y", "a [redacted] b\n[redacted]");
    check(&r, "to\x1b[1mken=x1\x1b[0m b", "[redacted]\x1b[0m b");
    check(&r, "token=123-45 z 123-45", "[redacted] z [redacted]");
    check(&r, "caf\u{e9} token=\u{e9} z", "caf\u{e9} [redacted] z");
}

#[test]
fn what_cannot_be_taken_out_is_refused() {
    let r = Redactor::default();
    assert_eq!(r.hide("PIN", "123\n"), Err(RedactError::Short(3)));
    assert_eq!(r.hide("DISK", &"x".repeat(MAX_SECRET + 1)), Err(RedactError::Long(MAX_SECRET + 1)));
    assert_eq!(r.pattern("a*"), Err(RedactError::Empty));
    assert!(matches!(r.pattern("(a"), Err(RedactError::Pattern(_))));
    assert!(!r.is_active());
}

fn screen(columns: usize, rows: &[&str]) -> Screen {
    Screen::Text(Text { rows: rows.iter().map(|row| (*row).to_owned()).collect(), columns })
}

#[test]
fn a_screen_is_masked_cell_by_cell_and_its_picture_is_not_kept() {
    let r = hiding(&["hunter2"]);
    r.pattern("key [0-9]+").unwrap();
    let shown = screen(10, &["login: hun", "ter2", "a key 1234", "5 b"]);
    let masked = screen(10, &["login: ***", "****", "a ********", "* b"]);
    assert!(!r.may_keep(&shown));
    assert_eq!(r.mask(shown), (masked, true));
    let half = r.mask(screen(80, &["login: hunte"]));
    assert_eq!(half, (screen(80, &["login: *****"]), true));
    assert!(r.may_keep(&screen(80, &["login:"])));
    assert!(!r.may_keep(&screen(80, &["log\u{fffd}in:"])), "what cannot be read could be anything");
    assert!(!r.may_keep(&Screen::Unknown));
    assert!(Redactor::default().may_keep(&Screen::Unknown));
}

#[test]
fn a_rule_counts_from_the_moment_it_is_given() {
    let r = Redactor::default();
    let mut stream = r.stream();
    assert_eq!(stream.push(b"hunter2 "), b"hunter2 ");
    r.hide("S0", "hunter2").unwrap();
    assert_eq!(stream.push(b"hunter2 "), b"[secret S0] ");
}

fn pieces() -> impl Strategy<Value = (String, Vec<usize>)> {
    ("([ab\\n\\x08]|abba|\\x1b\\[1m){0,40}", proptest::collection::vec(any::<usize>(), 0..6))
}

proptest! {
    #[test]
    fn how_bytes_arrive_makes_no_difference((text, cuts) in pieces()) {
        let r = hiding(&["abba", "abbabb"]);
        r.pattern("ab{3}").unwrap();
        let (mut values, mut lines, mut out) = (r.stream(), r.lines(), Vec::new());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.sort_unstable();
        let mut from = 0;
        for to in cuts.into_iter().chain([text.len()]) {
            out.extend(lines.push(&values.push(&text.as_bytes()[from..to])));
            from = to;
        }
        out.extend(lines.push(&values.finish()));
        out.extend(lines.finish());
        let out = String::from_utf8(out).unwrap();
        prop_assert_eq!(&out, &r.text(&text));
        let mut escape = super::Escape::default();
        let seen: Vec<u8> = out.bytes().filter(|byte| escape.shows(*byte)).collect();
        // Taken-back characters are seen in the bytes though not on a screen: only without them nothing may be left.
        prop_assert!(text.contains('\u{8}') || !String::from_utf8_lossy(&seen).contains("abba"), "{out:?}");
    }

    #[test]
    fn without_rules_nothing_changes(bytes: Vec<u8>) {
        let r = Redactor::default();
        let (mut values, mut lines) = (r.stream(), r.lines());
        let mut out = lines.push(&values.push(&bytes));
        out.extend(lines.push(&values.finish()));
        out.extend(lines.finish());
        prop_assert_eq!(out, bytes);
    }
}
