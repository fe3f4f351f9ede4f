//! The order of versions. UAPI.10, Version Format Specification.

use std::cmp::Ordering;

/// Which of two version strings is newer: `Greater` when `a` is.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = skip(a, |c| !is_valid(c));
        b = skip(b, |c| !is_valid(c));
        // A tilde is older than everything, the end included: 1.0~rc1 comes before 1.0.
        match lesser(&mut a, &mut b, b'~') {
            Ordering::Equal => {}
            other => return other,
        }
        if a.is_empty() || b.is_empty() {
            return (!a.is_empty()).cmp(&!b.is_empty());
        }
        for separator in *b"-^." {
            match lesser(&mut a, &mut b, separator) {
                Ordering::Equal => {}
                other => return other,
            }
        }
        let digits = a.first().is_some_and(u8::is_ascii_digit) || b.first().is_some_and(u8::is_ascii_digit);
        let of = |c: u8| if digits { c.is_ascii_digit() } else { c.is_ascii_alphabetic() };
        let (one, other) = (run(a, of), run(b, of));
        let order = if digits {
            // A number is newer than none; 00123 is 123, and of two numbers the longer one is newer.
            let (x, y) = (skip(one, |c| c == b'0'), skip(other, |c| c == b'0'));
            (!one.is_empty()).cmp(&!other.is_empty()).then(x.len().cmp(&y.len())).then(x.cmp(y))
        } else {
            one.cmp(other)
        };
        if order != Ordering::Equal {
            return order;
        }
        a = a.get(one.len()..).unwrap_or_default();
        b = b.get(other.len()..).unwrap_or_default();
    }
}

/// Only one of them begins with `mark`: that one is older. Both do: it is behind them now.
fn lesser(a: &mut &[u8], b: &mut &[u8], mark: u8) -> Ordering {
    match (a.split_first(), b.split_first()) {
        (Some((x, rest_a)), Some((y, rest_b))) if *x == mark && *y == mark => {
            (*a, *b) = (rest_a, rest_b);
            Ordering::Equal
        }
        (Some((x, _)), _) if *x == mark => Ordering::Less,
        (_, Some((y, _))) if *y == mark => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

fn is_valid(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"~-^.".contains(&c)
}

fn run(text: &[u8], of: impl Fn(u8) -> bool) -> &[u8] {
    let len = text.iter().take_while(|c| of(**c)).count();
    text.get(..len).unwrap_or_default()
}

fn skip(text: &[u8], of: impl Fn(u8) -> bool) -> &[u8] {
    text.get(run(text, of).len()..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::compare;
    use std::cmp::Ordering;

    #[test]
    fn orders_as_the_specification_does() {
        // Each row from old to new; the first one is the specification's own.
        let rows: &[&[&str]] = &[
            &[
                "122.1",
                "123~rc1-1",
                "123",
                "123-a",
                "123-a.1",
                "123-1",
                "123-1.1",
                "123^post1",
                "123.a-1",
                "123.1-1",
                "123a-1",
                "124-1",
            ],
            &["~", "", "0", "0.", "0.0"],
            &["1.0~rc1", "1.0", "1.0^git1", "1.0.1"],
            &["6.1.0-9", "6.1.0-10", "6.12.1"],
            &["A", "a", "b", "1"],
            &["5.14.0-70.el9", "5.14.0-162.el9"],
            &["bar-123", "foo-123"],
            &["1_", "1.2", "1_2_3"],
        ];
        for row in rows {
            for pair in row.windows(2) {
                assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{} < {}", pair[0], pair[1]);
                assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{} > {}", pair[1], pair[0]);
            }
        }
        for (a, b) in [("1_", "1"), ("_1", "1"), ("11α", "11β"), ("", "")] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} = {b}");
        }
        assert_eq!(compare("123", "0123"), Ordering::Equal);
    }
}
