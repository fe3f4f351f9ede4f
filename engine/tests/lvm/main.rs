//! LVM2 against outside oracles: lvm2's own tools and GRUB's reader.

mod builder;
mod corpus;
mod diff;
#[path = "../diff_support/mod.rs"]
mod diff_support;
#[path = "../guest_support/mod.rs"]
mod guest_support;
mod hostile;
mod inspect;
mod layouts;
mod real;
