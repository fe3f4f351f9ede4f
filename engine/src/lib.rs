//! Disk bytes: containers, tables, volumes, and conversion as a patch.
//!
//! ```text
//!   file ── container::open ──► Disk ── table ──► Slice ── volume ──► files ── guest ──► Inspection
//!                                │                                                          │
//!                                │       list of writes ◄── lower ◄── Patch ◄── convert ◄───┘
//!                                ▼              │
//!                             Overlay ◄─────────┘
//!                                │
//!                                └── container::export ──► a new file, whole or not at all
//! ```
//!
//! A [`Disk`](disk::Disk) is a thing you can read at an offset. It tells its data from its holes, so no one here walks a terabyte
//! of nothing. Disks stack: a [`Slice`](disk::Slice) is a partition, an [`Overlay`](disk::Overlay) is copy-on-write in memory.
//! Planned changes are lists of writes; they become a disk by lying on top of one, and a file by export.
//!
//! ```
//! use engine::container::{ExportOptions, OutFormat, export, open};
//! use engine::disk::{Disk, Geometry, MemDisk, Overlay, Write};
//! use engine::units::{ByteLen, ByteOffset, MIB, SectorSize};
//! use std::{ops::ControlFlow, sync::Arc};
//!
//! // A terabyte of nothing, and one planned write.
//! let geometry = Geometry { len: ByteLen(MIB << 20), sector: SectorSize::B512 };
//! let write = Write { at: ByteOffset(510), bytes: Arc::from([0x55, 0xAA]) };
//! let disk = Overlay::new(Arc::new(MemDisk::empty(geometry)), geometry, vec![write])?;
//!
//! let folder = tempfile::tempdir()?;
//! let out = folder.path().join("out.vhd");
//! let options = ExportOptions::new(*b"sixteen byte id.", 1_800_000_000);
//! export(&disk, &out, OutFormat::FixedVhd, &options, &mut |_| ControlFlow::Continue(()))?;
//!
//! let mut end_of_sector = [0; 2];
//! open(&out, None)?.disk.read_at(ByteOffset(510), &mut end_of_sector)?;
//! assert_eq!(end_of_sector, [0x55, 0xAA]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Invariant: an image that was given is never opened for writing.** The only descriptor is a [`SourceFile`](disk::SourceFile),
//! opened read-only; there is no function that writes into an existing disk.
//!
//! **Invariant: nothing is read as if sound that is not.** Every number in a file is checked before it is used; a dirty log, a missing
//! parent, a file cut short are errors when the image is opened.
//!
//! # Errors
//! Each says where (offsets in hexadecimal), what was wanted and what was found; an [`OpenError`](container::OpenError) also says what to do next.
//!
//! # Non-goals
//! No process is started, no clock, environment or random number is asked: times and ids are parameters. No terminal, no
//! QEMU, no network. Nothing is repaired in place.

pub mod boot;
pub mod container;
pub mod convert;
pub mod diff;
pub mod disk;
pub mod guest;
pub mod hash;
pub mod preflight;
pub mod table;
pub mod units;
pub mod volume;
