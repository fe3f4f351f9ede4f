//! An input as two LVM2 physical volumes. See `drill_fuzz::lvm`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| drill_fuzz::harness::run_lvm(input));
