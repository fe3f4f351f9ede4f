//! Disk bytes: containers, tables, volumes, and conversion as a patch.
pub mod boot;
pub mod container;
pub mod convert;
pub mod disk;
pub mod guest;
pub mod hash;
pub mod table;
pub mod units;
pub mod volume;
