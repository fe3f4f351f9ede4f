//! Partition tables: the GUID partition table and the master boot record.

pub mod gpt;
pub mod guid;
pub mod mbr;
