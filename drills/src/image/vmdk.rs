//! A VMDK as nodes. Its descriptor is not shown to QEMU: it gets one of ours, in which every extent is a descriptor of an open file.

use super::chain::{Chain, Layer, refused};
use super::graph::{self, path_of};
use super::names;
use engine::container::vmdk::{
    Access, Descriptor, Extent, ExtentKind, VmdkFacts, check_whole, extent_facts, facts,
};
use engine::container::{Format, Layout, OpenError, detect};
use engine::disk::{ReadError, SourceFile};
use engine::units::SectorSize;
use serde_json::Value;
use std::fmt::Write;
use std::os::fd::AsFd;
use std::sync::Arc;

/// The VMDK in `source`, and what it lies on.
pub(super) fn layer(chain: &mut Chain<'_>, source: &Arc<SourceFile>) -> Result<Layer, OpenError> {
    let facts = facts(source)?;
    let (mut node, block_size, layout) = match &facts {
        VmdkFacts::Sparse(header, _) => {
            // QEMU would take what a cut file lacks for zeros.
            check_whole(source, header)?;
            let node = graph::format("vmdk", chain.file(source)?, None);
            (node, Some(header.grain), Layout::Dynamic)
        }
        VmdkFacts::Descriptor(descriptor) => split(chain, source, descriptor)?,
    };
    let descriptor = facts.descriptor();
    let mut below = Vec::new();
    if let Some(cid) = descriptor.parent_cid {
        let parent = find_parent(chain, source, descriptor, cid)?;
        node["backing"] = chain.below(parent, Format::Vmdk, &mut below)?;
    }
    let layout = if below.is_empty() { layout } else { Layout::Differencing };
    let len = descriptor.sectors.saturating_mul(SectorSize::B512.bytes()); // bounded by the parser
    Ok(Layer { node, layout, len, block_size, below })
}

/// A descriptor file and the extents it names.
fn split(
    chain: &mut Chain<'_>,
    source: &Arc<SourceFile>,
    descriptor: &Descriptor,
) -> Result<(Value, Option<u64>, Layout), OpenError> {
    // Kept although QEMU does not get it: what it says must not change while the disk is in use.
    let _ = chain.file(source)?;
    let mut files = Vec::with_capacity(descriptor.extents.len());
    let mut grain = None;
    for extent in &descriptor.extents {
        let file = open_extent(chain, source, extent)?;
        if extent.kind == ExtentKind::Sparse {
            let header = extent_facts(&file)?;
            if header.sectors != extent.sectors {
                let wanted = format!("{} sectors, as the descriptor says", extent.sectors);
                return Err(damaged(&file, "VMDK extent", 12, wanted, header.sectors));
            }
            check_whole(&file, &header)?;
            grain = grain.or(Some(header.grain));
        }
        files.push(file);
    }
    let text = rewritten(descriptor, &files);
    let text = chain.graph.text(&text).map_err(|e| OpenError::Damaged {
        path: source.path().to_path_buf(),
        format: Format::Vmdk,
        source: ReadError::Io { what: "a descriptor in memory".into(), at: 0, source: e },
    })?;
    let mut node = graph::format("vmdk", text, None);
    for (n, file) in files.iter().enumerate() {
        // The name comes from the descriptor, and must not come twice.
        let mut extent = chain.file(file)?;
        if let Some(extent) = extent.as_object_mut() {
            extent.remove("filename");
        }
        node[format!("extents.{n}")] = extent;
    }
    Ok((node, grain, if grain.is_some() { Layout::Dynamic } else { Layout::Fixed }))
}

fn open_extent(
    chain: &Chain<'_>,
    source: &SourceFile,
    extent: &Extent,
) -> Result<Arc<SourceFile>, OpenError> {
    let next = "convert it: qemu-img convert -O raw IN OUT";
    if extent.access == Access::None {
        return Err(refused(source, "has an extent with NOACCESS: its bytes are not to be had", next));
    }
    let offset = match &extent.kind {
        ExtentKind::Flat { offset } => Some(*offset),
        ExtentKind::Sparse => None,
        ExtentKind::Other(kind) => {
            return Err(refused(
                source,
                format!("has an extent of the kind {kind:?}, which is not read"),
                next,
            ));
        }
    };
    let name = extent.name.as_deref().unwrap_or_default();
    let file = names::open(chain.gate, source, "extent", name)?;
    if let Some(offset) = offset {
        let end = extent.flat_bytes(offset).and_then(|(at, len)| at.checked_add(len));
        if end.is_none_or(|end| end > file.len()) {
            let wanted = format!("{} sectors from sector {offset} on", extent.sectors);
            return Err(damaged(&file, "VMDK flat extent", file.len(), wanted, "a shorter file"));
        }
    }
    Ok(file)
}

/// The descriptor QEMU gets. No line of it is blank: QEMU 7.2 counts an extent behind a blank line twice.
fn rewritten(descriptor: &Descriptor, files: &[Arc<SourceFile>]) -> String {
    let sparse = descriptor.extents.iter().any(|e| e.kind == ExtentKind::Sparse);
    let kind = if sparse { "twoGbMaxExtentSparse" } else { "twoGbMaxExtentFlat" };
    let parent = descriptor.parent_cid.unwrap_or(u32::MAX);
    let mut text = format!(
        "# Disk DescriptorFile\nversion=1\nCID={:08x}\nparentCID={parent:08x}\ncreateType=\"{kind}\"\n",
        descriptor.cid
    );
    for (extent, file) in descriptor.extents.iter().zip(files) {
        let (sectors, path) = (extent.sectors, path_of(file.as_fd()));
        let _ = match extent.kind {
            ExtentKind::Flat { offset } => writeln!(text, "RW {sectors} FLAT \"{path}\" {offset}"),
            _ => writeln!(text, "RW {sectors} SPARSE \"{path}\""),
        };
    }
    text
}

/// The parent of a delta: the first candidate of the gate whose content id is the one the delta was made on.
fn find_parent(
    chain: &Chain<'_>,
    child: &SourceFile,
    descriptor: &Descriptor,
    cid: u32,
) -> Result<Arc<SourceFile>, OpenError> {
    let hints: Vec<String> = descriptor.parent_hint.iter().cloned().collect();
    let mut tried = Vec::new();
    for candidate in chain.gate.candidates(child.path(), &hints) {
        let shown = candidate.path.display();
        let file = match candidate.open() {
            Ok(file) => file,
            Err(e) => {
                tried.push(e.to_string());
                continue;
            }
        };
        // A file that the user gave for another link of the chain is not this one's parent.
        if candidate.given && chain.has(&file) {
            continue;
        }
        match detect(&file) {
            Ok(Format::Vmdk) => {}
            _ => {
                tried.push(format!("{shown}: no VMDK"));
                continue;
            }
        }
        match facts(&file) {
            Ok(facts) if facts.descriptor().cid == cid => return Ok(file.into()),
            Ok(facts) => tried.push(format!("{shown}: has CID {:08x}", facts.descriptor().cid)),
            Err(e) => tried.push(e.to_string()),
        }
    }
    let wish = descriptor.parent_hint.as_ref().map_or("without naming it".into(), |n| format!("named {n:?}"));
    let tried = if tried.is_empty() { "nothing".to_owned() } else { tried.join("; ") };
    Err(refused(
        child,
        format!("a VMDK that needs a parent with CID {cid:08x}, {wish}, and no file fits; tried: {tried}"),
        "find the parent this disk was made from; another one, or a later state of it, would give a disk that never existed",
    ))
}

fn damaged(
    source: &SourceFile,
    what: &str,
    at: u64,
    wanted: impl ToString,
    found: impl ToString,
) -> OpenError {
    let (wanted, found) = (wanted.to_string(), found.to_string());
    OpenError::Damaged {
        path: source.path().to_path_buf(),
        format: Format::Vmdk,
        source: ReadError::Corrupt { what: what.into(), at, wanted, found },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_line_of_a_rewritten_descriptor_is_blank() {
        let descriptor =
            super::Descriptor::parse("CID=1\ncreateType=\"x\"\nRDONLY 8 FLAT \"../../etc/shadow\" 3\n");
        let file = engine::disk::SourceFile::open(std::path::Path::new("/proc/self/exe")).unwrap();
        let text = super::rewritten(&descriptor.unwrap(), &[file.into()]);
        assert!(text.lines().all(|line| !line.trim().is_empty()), "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("RW 8 FLAT \"/proc/self/fd/") && last.ends_with("\" 3"), "{text}");
        assert!(!text.contains("shadow"), "{text}");
    }
}
