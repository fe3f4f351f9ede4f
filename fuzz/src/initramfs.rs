//! What must hold of every initramfs, whatever its bytes are.
//!
//! - it is listed in bounded room and time, to its end or up to a place that is said;
//! - its members follow one another and have the names that are listed;
//! - it makes no difference in how many pieces the bytes come, but for how far a damaged stream is followed.

use engine::guest::initramfs::{End, Listing, MEMBERS_MAX, NAME_BYTES_MAX, NAME_MAX, NAMES_MAX, list};
use std::io::BufReader;

/// List an initramfs and check it. Returns whether it was listed to its end.
///
/// # Panics
/// When something does not hold.
pub fn visit(bytes: &[u8]) -> bool {
    let mut whole = bytes;
    let found = list(&mut whole);
    check(&found, bytes.len() as u64);
    let pieces = list(&mut BufReader::with_capacity(7, bytes));
    check(&pieces, bytes.len() as u64);
    same(&found, &pieces);
    found.end == End::Whole
}

/// How much came out of a damaged stream before the damage was noticed may differ, and with it what was wrong first; nothing else may.
fn same(a: &Listing, b: &Listing) {
    match (&a.end, &b.end) {
        (End::Whole, End::Whole) => assert_eq!(a, b, "in pieces it is another archive"),
        (End::Broken { at: one, .. }, End::Broken { at: other, .. }) => {
            assert_eq!((one, &a.members), (other, &b.members), "in pieces it ends elsewhere");
            assert!(a.names.iter().zip(&b.names).all(|(a, b)| a == b), "in pieces it has other names");
        }
        _ => panic!("in pieces it is {:?}, not {:?}", b.end, a.end),
    }
}

fn check(found: &Listing, len: u64) {
    assert!(found.names.len() <= NAMES_MAX && found.members.len() <= MEMBERS_MAX);
    // A byte that is no UTF-8 is shown as three.
    assert!(found.names.iter().all(|name| name.len() <= 3 * NAME_MAX && !name.contains('\0')));
    assert!(found.names.iter().map(String::len).sum::<usize>() <= 3 * NAME_BYTES_MAX);
    assert!(found.members.is_sorted_by(|a, b| a.at < b.at), "{:?}", found.members);
    assert!(found.members.iter().all(|m| m.at < len));
    assert!(found.members.iter().map(|m| m.names).sum::<usize>() <= found.names.len());
    match &found.end {
        End::Whole => assert_eq!(found.members.iter().map(|m| m.names).sum::<usize>(), found.names.len()),
        End::Broken { at, why } => assert!(*at < len && !why.is_empty(), "{at} of {len}: {why}"),
    }
}
