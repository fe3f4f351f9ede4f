//! Disk bytes: containers, tables, volumes, and conversion as a patch.
pub mod disk;
pub mod table;
pub mod units;
