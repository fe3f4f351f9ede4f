//! QEMU's node graph, with nothing in it but descriptors.

use engine::disk::SourceFile;
use rustix::fs::{FileType, MemfdFlags, SealFlags, fcntl_add_seals, fstat, memfd_create};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Descriptors that a `qemu-nbd` inherits, and the nodes that use them. A node names a file by its number only.
#[derive(Debug)]
pub(super) struct Graph {
    files: Vec<Arc<SourceFile>>,
    texts: Vec<OwnedFd>,
    root: Value,
}

impl Graph {
    pub(super) fn new() -> Graph {
        Graph { files: Vec::new(), texts: Vec::new(), root: Value::Null }
    }

    /// The files of the image, the image itself first.
    pub(super) fn files(&self) -> &[Arc<SourceFile>] {
        &self.files
    }

    /// All descriptors.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.files.iter().map(|f| f.as_fd()).chain(self.texts.iter().map(|t| t.as_fd()))
    }

    /// The node that is served.
    pub(super) fn serve(&mut self, root: Value) {
        self.root = root;
    }

    /// The graph as QEMU takes it in place of a file's name.
    pub(super) fn argument(&self) -> String {
        format!("json:{}", self.root)
    }

    /// A node for a file's bytes.
    pub(super) fn file(&mut self, file: &Arc<SourceFile>) -> Value {
        self.files.push(file.clone());
        let block = fstat(file).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::BlockDevice);
        node(if block { "host_device" } else { "file" }, file.as_fd())
    }

    /// A node for a text of our own, in memory that nobody can change any more.
    pub(super) fn text(&mut self, text: &str) -> io::Result<Value> {
        let fd = memfd_create("drill-descriptor", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(fd);
        file.write_all(text.as_bytes())?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
        let node = node("file", file.as_fd());
        self.texts.push(file.into());
        Ok(node)
    }
}

/// The path QEMU opens a descriptor by.
pub(super) fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn node(driver: &str, fd: BorrowedFd<'_>) -> Value {
    json!({"driver": driver, "filename": path_of(fd), "locking": "off", "read-only": true})
}

/// A node of a format on top of `file`; what it lies on is said even when it is nothing, for else QEMU would look for a name.
pub(super) fn format(driver: &str, file: Value, below: Option<Value>) -> Value {
    json!({"driver": driver, "read-only": true, "file": file, "backing": below})
}

/// The bytes of a file as they are.
pub(super) fn raw(file: Value) -> Value {
    json!({"driver": "raw", "read-only": true, "file": file})
}
