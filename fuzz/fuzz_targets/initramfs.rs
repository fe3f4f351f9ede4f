//! An input as an initramfs. See `drill_fuzz::harness`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| drill_fuzz::harness::initramfs(input));
