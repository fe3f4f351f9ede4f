//! What a machine's processors do, from QEMU's `info registers -a` (QEMU, target/i386/cpu-dump.c): enough to tell a guest that nothing can wake
//! from one that merely says nothing.

/// Bit 9 of EFLAGS: interrupts are taken. Intel SDM volume 1 §3.4.3.
const INTERRUPTS: u64 = 1 << 9;
/// Bit 31 of CR0: paging. Intel SDM volume 3 §2.5.
const PAGING: u64 = 1 << 31;
/// Where the upper half of 64-bit addresses begins: kernels live there, loaders and firmware never do.
const UPPER_64: u64 = 0xffff_8000_0000_0000;
/// The same of 32-bit systems with paging: Windows from here on, Linux from 0xc0000000 on.
const UPPER_32: u64 = 0x8000_0000;

/// What the processors do, as far as one look shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Running {
    /// QEMU did not say, or not in a form that is known.
    #[default]
    Unknown,
    /// Firmware or a loader: no processor is where a kernel or its programs run.
    BeforeSystem,
    /// A kernel, or a program under one.
    System,
    /// Nothing, for ever: every processor has halted and takes no interrupt.
    Dead,
}

/// Reads the registers of all processors.
pub(crate) fn running(registers: &str) -> Running {
    let mut seen: Vec<Running> = Vec::new();
    for one in registers.split("CPU#").skip(1) {
        match processor(one) {
            Some(running) => seen.push(running),
            None => return Running::Unknown,
        }
    }
    if seen.contains(&Running::System) {
        Running::System
    } else if seen.is_empty() {
        Running::Unknown
    } else if seen.iter().all(|r| *r == Running::Dead) {
        Running::Dead
    } else {
        Running::BeforeSystem
    }
}

fn processor(text: &str) -> Option<Running> {
    let field = |name: &str| {
        let at = text.find(name)?;
        let digits: String =
            text.get(at + name.len()..)?.chars().take_while(char::is_ascii_hexdigit).collect();
        u64::from_str_radix(&digits, 16).ok()
    };
    let (wide, at) = match field("RIP=") {
        Some(at) => (true, at),
        None => (false, field("EIP=")?),
    };
    let (flags, level, halted, cr0) = (field("FL=")?, field("CPL=")?, field("HLT=")?, field("CR0=")?);
    let upper = if wide { at >= UPPER_64 } else { cr0 & PAGING != 0 && at >= UPPER_32 };
    Some(if halted == 1 && flags & INTERRUPTS == 0 {
        Running::Dead
    } else if level == 3 || upper {
        Running::System
    } else {
        Running::BeforeSystem
    })
}

#[cfg(test)]
mod tests {
    use super::{Running, running};

    /// Recorded from QEMU 7.2: a boot sector of `cli; hlt`, and SeaBIOS's second processor.
    const HALTED: &str = "CPU#0\nEAX=00000000 EBX=00000000 ECX=00000000 EDX=00000080\n\
        EIP=00007c02 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=1\nCR0=00000010 CR2=00000000 CR3=00000000\n";
    const PARKED: &str =
        "CPU#1\nEIP=000fd09a EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=1\nCR0=00000011\n";

    #[test]
    fn a_kernel_a_loader_and_a_dead_machine_are_told_apart() {
        let dead = format!("{HALTED}{PARKED}");
        let kernel =
            "CPU#0\nRIP=ffffffff81c0a2ab RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\nCR0=80050033\n";
        let program =
            "CPU#0\nRIP=000000000040a2ab RFL=00000246 [---Z-P-] CPL=3 II=0 A20=1 SMM=0 HLT=0\nCR0=80050033\n";
        let grub =
            "CPU#0\nRIP=000000003e2ab123 RFL=00000202 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\nCR0=80010033\n";
        let flash = "CPU#0\nEIP=fffc1234 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\nCR0=00000033\n";
        for (text, expect) in [
            (dead.as_str(), Running::Dead),
            (&HALTED.replace("00000002", "00000202"), Running::BeforeSystem),
            (kernel, Running::System),
            (program, Running::System),
            (&format!("{grub}{PARKED}"), Running::BeforeSystem),
            (&format!("{kernel}{PARKED}"), Running::System),
            (flash, Running::BeforeSystem),
            ("", Running::Unknown),
            ("CPU#0\nEIP=?", Running::Unknown),
        ] {
            assert_eq!(running(text), expect, "{text}");
        }
    }
}
