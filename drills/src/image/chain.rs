//! From an image to everything that lies under it: each name goes through the gate, each file is opened here, QEMU gets descriptors.

use super::graph::{self, Graph};
use super::{names, vmdk};
use engine::container::gate::CHAIN_MAX;
use engine::container::qcow2::{Backing, check_whole, facts};
use engine::container::vmdk::EXTENTS_MAX;
use engine::container::{Format, Gate, Layout, OpenError, ParentInfo, detect};
use engine::disk::SourceFile;
use serde_json::Value;
use std::sync::Arc;

/// Files of one chain, extents too: each is two open descriptors in `qemu-nbd`, which usually may have 1024.
const FILES_MAX: usize = EXTENTS_MAX + CHAIN_MAX;

/// What QEMU is to serve.
#[derive(Debug)]
pub(super) struct Plan {
    pub graph: Graph,
    pub layout: Layout,
    /// Length of the disk in bytes.
    pub len: u64,
    /// Bytes of a cluster or grain.
    pub block_size: Option<u64>,
    /// Length of the image's own file in bytes.
    pub file_len: u64,
    /// What the image lies on, nearest first.
    pub below: Vec<ParentInfo>,
    /// What is unusual about the files, in words.
    pub notes: Vec<String>,
}

/// Find everything that makes up the disk in `source`.
pub(super) fn plan(source: Arc<SourceFile>, format: Format, gate: &Gate) -> Result<Plan, OpenError> {
    let mut chain = Chain { gate, graph: Graph::new(), seen: Vec::new(), notes: Vec::new() };
    let file_len = source.len();
    let layer = chain.layer(source, format)?;
    chain.graph.serve(layer.node);
    let Layer { layout, len, block_size, below, .. } = layer;
    Ok(Plan { graph: chain.graph, layout, len, block_size, file_len, below, notes: chain.notes })
}

/// One image of a chain.
pub(super) struct Layer {
    pub node: Value,
    pub layout: Layout,
    pub len: u64,
    pub block_size: Option<u64>,
    pub below: Vec<ParentInfo>,
}

/// The files of one chain while they are being opened.
pub(super) struct Chain<'a> {
    pub gate: &'a Gate,
    pub graph: Graph,
    /// Device and inode of each image so far.
    seen: Vec<(u64, u64)>,
    /// What is unusual about them.
    notes: Vec<String>,
}

impl Chain<'_> {
    /// The image in `source`, and what it lies on.
    pub(super) fn layer(&mut self, source: Arc<SourceFile>, format: Format) -> Result<Layer, OpenError> {
        self.enter(&source)?;
        match format {
            Format::Qcow2 => self.qcow2(&source),
            Format::Vmdk => vmdk::layer(self, &source),
            Format::Raw => {
                let node = graph::raw(self.file(&source)?);
                let len = source.len();
                Ok(Layer { node, layout: Layout::Fixed, len, block_size: None, below: Vec::new() })
            }
            Format::Vhd | Format::Vhdx => Err(refused(
                &source,
                format!("a {format} under an image that QEMU must read, which is not supported"),
                "flatten the chain where it belongs: qemu-img convert -O raw IN OUT",
            )),
        }
    }

    /// A node for a file of the chain.
    pub(super) fn file(&mut self, source: &Arc<SourceFile>) -> Result<Value, OpenError> {
        if self.graph.files().len() >= FILES_MAX {
            let what = format!("is file {} of one disk, wanted at most {FILES_MAX}", FILES_MAX + 1);
            return Err(refused(source, what, "merge its extents first: qemu-img convert -O raw IN OUT"));
        }
        Ok(self.graph.file(source))
    }

    /// Whether `source` is an image of this chain already.
    pub(super) fn has(&self, source: &SourceFile) -> bool {
        let id = source.identity();
        self.seen.contains(&(id.dev, id.inode))
    }

    fn enter(&mut self, source: &SourceFile) -> Result<(), OpenError> {
        if self.has(source) {
            return Err(refused(
                source,
                "is in its own chain of backing files: the chain is a loop",
                "one of the files has another file's name: compare the names with those of the original machine",
            ));
        }
        if self.seen.len() >= CHAIN_MAX {
            return Err(refused(
                source,
                format!("is file {} of a chain, wanted at most {CHAIN_MAX}", CHAIN_MAX + 1),
                "commit some of the overlays first (qemu-img commit), or flatten the chain",
            ));
        }
        let id = source.identity();
        self.seen.push((id.dev, id.inode));
        Ok(())
    }

    fn qcow2(&mut self, source: &Arc<SourceFile>) -> Result<Layer, OpenError> {
        let facts = facts(source)?;
        // QEMU would take what a cut file lacks for zeros.
        self.notes.extend(check_whole(source)?);
        let file = self.file(source)?;
        let mut below = Vec::new();
        let under = match &facts.backing {
            None => None,
            Some(backing) => {
                let found = names::open(self.gate, source, "backing file", &backing.name)?;
                let format = backing_format(source, backing, &found)?;
                if format == Format::Raw && found.len() < facts.len.get() {
                    self.notes.push(format!(
                        "{}: {} bytes shorter than the disk on top of it, which reads zeros there: a copy that was cut looks the same",
                        found.path().display(),
                        facts.len.get().saturating_sub(found.len())
                    ));
                }
                Some(self.below(found, format, &mut below)?)
            }
        };
        Ok(Layer {
            layout: if under.is_some() { Layout::Differencing } else { Layout::Dynamic },
            node: graph::format("qcow2", file, under),
            len: facts.len.get(),
            block_size: Some(facts.cluster_size),
            below,
        })
    }

    /// The image under another one, and its line in the chain.
    pub(super) fn below(
        &mut self,
        source: Arc<SourceFile>,
        format: Format,
        below: &mut Vec<ParentInfo>,
    ) -> Result<Value, OpenError> {
        let path = source.path().to_path_buf();
        let layer = self.layer(source, format)?;
        below.push(ParentInfo { path, format, layout: layer.layout, log: None });
        below.extend(layer.below);
        Ok(layer.node)
    }
}

/// The format of a backing file: what the image records, if the content bears it out. Raw must be recorded: who wrote into a raw disk could
/// else make it look like a container, with names of its own.
pub(super) fn backing_format(
    child: &SourceFile,
    backing: &Backing,
    found: &SourceFile,
) -> Result<Format, OpenError> {
    let looks = detect(found);
    let Some(recorded) = &backing.format else {
        return match looks {
            Ok(format @ (Format::Qcow2 | Format::Vmdk | Format::Vhd | Format::Vhdx)) => Ok(format),
            _ => Err(refused(
                child,
                format!(
                    "names {:?} as its backing file without recording its format, and {} is no container",
                    backing.name,
                    found.path().display()
                ),
                "if it is a raw disk, have it recorded in a copy: qemu-img rebase -u -F raw -b BACKING COPY",
            )),
        };
    };
    let format = match recorded.as_str() {
        "raw" | "host_device" | "file" => return Ok(Format::Raw),
        "qcow2" => Format::Qcow2,
        "vmdk" => Format::Vmdk,
        "vpc" => Format::Vhd,
        "vhdx" => Format::Vhdx,
        other => {
            let what = format!("records {other:?} as the format of its backing file, which is not read");
            return Err(refused(child, what, "flatten the chain: qemu-img convert -O raw IN OUT"));
        }
    };
    match looks {
        Ok(same) if same == format => Ok(format),
        looks => Err(refused(
            child,
            format!(
                "records {recorded} as the format of its backing file, but {} is {}",
                found.path().display(),
                looks.map_or_else(|_| "none".to_owned(), |f| f.to_string())
            ),
            "find the backing file this image was made on",
        )),
    }
}

pub(super) fn refused(source: &SourceFile, what: impl Into<String>, next: impl Into<String>) -> OpenError {
    OpenError::Refused { path: source.path().to_path_buf(), what: what.into(), next: next.into() }
}
