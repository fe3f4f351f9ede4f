//! LVM2 against outside oracles: lvm2's own tools and GRUB's reader.

mod builder;
mod hostile;
mod layouts;
mod real;
