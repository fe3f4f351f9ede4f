//! GUIDs as they lie on disks: the first three fields little-endian, the rest in order. UEFI 2.10 Appendix A.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// A GUID in its 16 bytes on disk. Shown, compared with text and serialized in the usual mixed-endian form, upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Guid([u8; 16]);

impl Guid {
    /// All zero: "no GUID".
    pub const NIL: Guid = Guid([0; 16]);

    /// From the bytes on disk.
    pub const fn from_disk(bytes: [u8; 16]) -> Guid {
        Guid(bytes)
    }

    /// The bytes on disk.
    pub const fn to_disk(self) -> [u8; 16] {
        self.0
    }

    /// From the digits as people write them: `0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B` is the EFI system partition's.
    pub const fn from_digits(digits: u128) -> Guid {
        Guid(Uuid::from_u128(digits).to_bytes_le())
    }

    /// Whether all bytes are zero.
    pub fn is_nil(self) -> bool {
        self == Guid::NIL
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}", Uuid::from_bytes_le(self.0))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Guid {
    type Err = String;
    fn from_str(text: &str) -> Result<Guid, String> {
        let id = Uuid::parse_str(text).map_err(|e| format!("{text:?} is no GUID: {e}"))?;
        Ok(Guid(id.to_bytes_le()))
    }
}

impl From<Guid> for String {
    fn from(guid: Guid) -> String {
        guid.to_string()
    }
}

impl TryFrom<String> for Guid {
    type Error = String;
    fn try_from(text: String) -> Result<Guid, String> {
        text.parse()
    }
}
