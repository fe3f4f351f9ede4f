//! An input as a Vmdk image. See `drill_fuzz::harness`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| drill_fuzz::harness::run(engine::container::Format::Vmdk, input));
