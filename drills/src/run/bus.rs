//! On which bus the lab hangs a guest's disks: one for which the guest has a driver when it looks for its root.
//!
//! A guest made on one platform may carry that platform's drivers only: it starts there and finds no disk here. That is the lab's fault and not the
//! guest's, so it is found before QEMU starts, and is *not performed*. Only a driver that is known to be missing counts; what cannot be told boots
//! as if it were there.

use engine::guest::initramfs::{Drivers, Presence};
use qemu::{DiskBus, Generation};

/// What a bus needs: modules that must all be there, and others that may do the first one's work.
struct Needs {
    bus: DiskBus,
    all: &'static [&'static str],
    instead: &'static [&'static str],
}

/// `ata_generic` and `pata_acpi` take controllers that no other driver claims; whether they take this one is not known.
const IDE: Needs =
    Needs { bus: DiskBus::Ide, all: &["ata_piix", "sd_mod"], instead: &["ata_generic", "pata_acpi"] };
const VIRTIO_SCSI: Needs =
    Needs { bus: DiskBus::VirtioScsi, all: &["virtio_scsi", "virtio_pci", "sd_mod"], instead: &[] };

/// The bus to take, and why it is not the usual one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Choice {
    pub bus: DiskBus,
    pub instead_of: Option<String>,
}

/// Choose for a machine of this generation. The usual bus comes first, whatever else there is.
///
/// # Errors
/// A sentence with the words `lab mismatch`, when the guest is known to have a driver for none.
pub(super) fn choose(generation: Generation, drivers: &Drivers) -> Result<Choice, String> {
    let offered: &[Needs] = match generation {
        Generation::Gen1 => &[IDE, VIRTIO_SCSI],
        Generation::Gen2 => &[VIRTIO_SCSI],
    };
    let mut lacking = Vec::new();
    for needs in offered {
        let missing = needs.missing(drivers);
        if missing.is_empty() {
            let instead_of = (!lacking.is_empty()).then(|| lacking.join("; "));
            return Ok(Choice { bus: needs.bus, instead_of });
        }
        lacking.push(format!("for {} it lacks {}", needs.bus.name(), missing.join(" and ")));
    }
    let start = drivers.start.as_deref().unwrap_or_default();
    let has: Vec<&str> = drivers.found.iter().filter(|(_, p)| is_there(p)).map(|(m, _)| m.as_str()).collect();
    let has = if has.is_empty() { "no disk driver at all".to_string() } else { has.join(", ") };
    Err(format!(
        "lab mismatch: the guest cannot find a disk here, so it was not started: {}. {start:?} has, built in or in its initramfs: {has}",
        lacking.join("; ")
    ))
}

impl Needs {
    /// The modules that are known to be missing.
    fn missing(&self, drivers: &Drivers) -> Vec<&'static str> {
        let another = self.instead.iter().any(|m| drivers.of(m) != Presence::Missing);
        let counts = |module: &&&str| !(another && self.all.first() == Some(*module));
        self.all.iter().filter(counts).filter(|m| drivers.of(m) == Presence::Missing).copied().collect()
    }
}

fn is_there(presence: &Presence) -> bool {
    matches!(presence, Presence::BuiltIn | Presence::Initramfs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::guest::initramfs::DISK_DRIVERS;

    fn drivers(has: &[&str], rest: &Presence) -> Drivers {
        let of = |module: &&str| if has.contains(module) { Presence::Initramfs } else { rest.clone() };
        let found = DISK_DRIVERS.iter().map(|m| ((*m).to_string(), of(m))).collect();
        Drivers { start: Some("Debian".into()), found }
    }

    #[track_caller]
    fn check(generation: Generation, has: &[&str], expect: Result<(DiskBus, Option<&str>), &str>) {
        let found = choose(generation, &drivers(has, &Presence::Missing));
        let expect = expect
            .map(|(bus, why)| Choice { bus, instead_of: why.map(str::to_string) })
            .map_err(str::to_string);
        assert_eq!(found, expect, "{generation:?} {has:?}");
    }

    #[test]
    fn the_usual_bus_comes_first_then_another_then_none() {
        use Generation::{Gen1, Gen2};
        let all = ["ata_piix", "sd_mod", "virtio_scsi", "virtio_pci"];
        check(Gen1, &all, Ok((DiskBus::Ide, None)));
        check(Gen2, &all, Ok((DiskBus::VirtioScsi, None)));
        let scsi = ["sd_mod", "virtio_scsi", "virtio_pci"];
        check(Gen1, &scsi, Ok((DiskBus::VirtioScsi, Some("for ide it lacks ata_piix"))));
        // They may take the controller, so it is not known that nothing does.
        check(Gen1, &["sd_mod", "ata_generic"], Ok((DiskBus::Ide, None)));
        check(
            Gen1,
            &["hv_vmbus", "hv_storvsc", "sd_mod"],
            Err(
                "lab mismatch: the guest cannot find a disk here, so it was not started: for ide it lacks ata_piix; for virtio-scsi it lacks \
                 virtio_scsi and virtio_pci. \"Debian\" has, built in or in its initramfs: sd_mod, hv_vmbus, hv_storvsc",
            ),
        );
        check(
            Gen2,
            &["ata_piix", "sd_mod"],
            Err(
                "lab mismatch: the guest cannot find a disk here, so it was not started: for virtio-scsi it lacks virtio_scsi and virtio_pci. \
                 \"Debian\" has, built in or in its initramfs: sd_mod, ata_piix",
            ),
        );
        check(
            Gen2,
            &[],
            Err(
                "lab mismatch: the guest cannot find a disk here, so it was not started: for virtio-scsi it lacks virtio_scsi and virtio_pci \
                 and sd_mod. \"Debian\" has, built in or in its initramfs: no disk driver at all",
            ),
        );
    }

    #[test]
    fn what_is_not_known_boots_as_usual() {
        let unknown = Presence::Unknown { why: "it is encrypted".into() };
        for (generation, bus) in [(Generation::Gen1, DiskBus::Ide), (Generation::Gen2, DiskBus::VirtioScsi)] {
            let usual = Ok(Choice { bus, instead_of: None });
            assert_eq!(choose(generation, &drivers(&[], &unknown)), usual);
            assert_eq!(choose(generation, &drivers(&["hv_storvsc"], &unknown)), usual);
            assert_eq!(choose(generation, &Drivers::unknown("nothing was found")), usual);
        }
    }
}
