//! Units of disk arithmetic. Mixing them is a type error; arithmetic that could leave the range is checked.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The bare number, in this unit.
            pub const fn get(self) -> u64 {
                self.0
            }
        }
    };
}

unit!(
    /// Offset in bytes from the start of a disk, a slice or a file.
    ByteOffset
);
unit!(
    /// Length in bytes.
    ByteLen
);
unit!(
    /// Logical block address: an offset in sectors of the disk's own sector size.
    Lba
);
unit!(
    /// Number of sectors of the disk's own sector size.
    SectorCount
);

/// Bytes in a mebibyte.
pub const MIB: u64 = 1 << 20;

/// Logical sector size: 512 or 4096 bytes, nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub enum SectorSize {
    /// 512-byte sectors (512n and 512e disks).
    B512,
    /// 4096-byte sectors (4Kn disks).
    B4096,
}

impl SectorSize {
    /// Bytes in one sector.
    pub const fn bytes(self) -> u64 {
        match self {
            SectorSize::B512 => 512,
            SectorSize::B4096 => 4096,
        }
    }
}

impl From<SectorSize> for u32 {
    fn from(s: SectorSize) -> u32 {
        match s {
            SectorSize::B512 => 512,
            SectorSize::B4096 => 4096,
        }
    }
}

impl TryFrom<u32> for SectorSize {
    type Error = String;
    fn try_from(n: u32) -> Result<Self, String> {
        match n {
            512 => Ok(SectorSize::B512),
            4096 => Ok(SectorSize::B4096),
            other => Err(format!("sector size is {other}, wanted 512 or 4096")),
        }
    }
}

impl ByteOffset {
    /// `self + len`, or `None` beyond 2^64 bytes.
    pub fn checked_add(self, len: ByteLen) -> Option<ByteOffset> {
        self.0.checked_add(len.0).map(ByteOffset)
    }

    /// Distance from `earlier` to `self`, or `None` when `earlier` lies behind.
    pub fn checked_since(self, earlier: ByteOffset) -> Option<ByteLen> {
        self.0.checked_sub(earlier.0).map(ByteLen)
    }
}

impl Lba {
    /// Byte offset of this sector, or `None` beyond 2^64 bytes.
    pub fn to_bytes(self, sector: SectorSize) -> Option<ByteOffset> {
        self.0.checked_mul(sector.bytes()).map(ByteOffset)
    }

    /// `self + count`, or `None` beyond 2^64 sectors.
    pub fn checked_add(self, count: SectorCount) -> Option<Lba> {
        self.0.checked_add(count.0).map(Lba)
    }
}

impl SectorCount {
    /// Length in bytes, or `None` beyond 2^64 bytes.
    pub fn to_bytes(self, sector: SectorSize) -> Option<ByteLen> {
        self.0.checked_mul(sector.bytes()).map(ByteLen)
    }
}

impl fmt::Display for ByteOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for Lba {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LBA {}", self.0)
    }
}
