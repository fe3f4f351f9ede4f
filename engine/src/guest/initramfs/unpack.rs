//! Members out of their packing, in pieces. The kernel tells them by their first bytes (`lib/decompress.c`), and each has a first byte of its own.

use super::Packing;
use super::cpio::Cpio;
use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;
use std::io::{self, BufRead, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes that flow through at once.
const PIECE: usize = 64 << 10;
/// Most memory for an xz dictionary, KiB: 128 MiB. `xz -9` has 64.
const XZ_MEMORY_KIB: u32 = 128 << 10;
/// Largest Zstandard window: 128 MiB, the kernel's own bound (`ZSTD_WINDOWSIZE_MAX`, lib/decompress_unzstd.c).
const ZSTD_WINDOW_MAX: u64 = 128 << 20;
/// The old framing of LZ4: a magic, then blocks of a length and what unpacks to at most 8 MiB. lz4/doc/lz4_Frame_format.md, "Legacy frame".
const LZ4_MAGIC: u32 = 0x184C_2102;
const LZ4_BLOCK: usize = 8 << 20;
/// Longest packed block: `LZ4_COMPRESSBOUND` of one.
const LZ4_PACKED_MAX: usize = LZ4_BLOCK + LZ4_BLOCK / 255 + 16;

/// The packing that begins with this byte.
pub(super) fn packing(first: u8) -> Result<Packing, String> {
    let unread = |name: &str| Err(format!("it is packed with {name}, which is not read"));
    match first {
        0x1f => Ok(Packing::Gzip),
        0xfd => Ok(Packing::Xz),
        0x28 => Ok(Packing::Zstd),
        0x02 => Ok(Packing::Lz4),
        0x42 => unread("bzip2"),
        0x5d => unread("lzma"),
        0x89 => unread("lzo"),
        other => Err(format!(
            "a member begins with the byte {other:#04x}, which is neither cpio nor a packing that is known"
        )),
    }
}

/// The file, and how far it was read.
pub(super) struct Source<'a> {
    bytes: &'a mut dyn BufRead,
    at: u64,
}

impl<'a> Source<'a> {
    pub fn new(bytes: &'a mut dyn BufRead) -> Source<'a> {
        Source { bytes, at: 0 }
    }

    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next byte, which stays.
    pub fn peek(&mut self) -> Result<Option<u8>, String> {
        Ok(self.fill_buf().map_err(|e| e.to_string())?.first().copied())
    }

    pub fn pass_zeros(&mut self) -> Result<(), String> {
        loop {
            let ahead = self.fill_buf().map_err(|e| e.to_string())?;
            let zeros = ahead.iter().take_while(|b| **b == 0).count();
            let more = zeros == ahead.len() && zeros > 0;
            self.consume(zeros);
            if !more {
                return Ok(());
            }
        }
    }

    /// An archive as it is, up to what is no part of one.
    pub fn plain(&mut self, cpio: &mut Cpio) -> Result<(), String> {
        loop {
            let ahead = self.bytes.fill_buf().map_err(|e| e.to_string())?;
            let taken = cpio.push(ahead)?;
            let more = taken == ahead.len() && taken > 0;
            self.consume(taken);
            if !more {
                return Ok(());
            }
        }
    }

    /// A packed member, to its own end.
    pub fn unpack(&mut self, packing: Packing, cpio: &mut Cpio) -> Result<(), String> {
        let mut take = |bytes: &[u8]| match cpio.push(bytes)? {
            all if all == bytes.len() => Ok(()),
            _ => Err("something else follows an archive within the packed data".to_string()),
        };
        let act = AssertUnwindSafe(|| match packing {
            Packing::Plain => Ok(()),
            Packing::Gzip => pump(&mut GzDecoder::new(self), &mut take),
            Packing::Xz => pump(&mut XzReader::new_mem_limit(self, false, XZ_MEMORY_KIB), &mut take),
            Packing::Zstd => {
                let decoder = StreamingDecoder::new_with_max_window_size(self, ZSTD_WINDOW_MAX);
                pump(&mut decoder.map_err(|e| e.to_string())?, &mut take)
            }
            Packing::Lz4 => lz4(self, &mut take),
        });
        // As with file systems: these libraries should return errors, and one that panics on a hostile file must not end a drill.
        let ended = catch_unwind(act).unwrap_or_else(|_| Err("its reader gave up".to_string()));
        ended.map_err(|e| format!("{packing}: {e}"))
    }
}

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(into)?;
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.bytes.fill_buf()
    }

    fn consume(&mut self, taken: usize) {
        self.at = self.at.saturating_add(taken as u64);
        self.bytes.consume(taken);
    }
}

type Take<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), String>;

fn pump(reader: &mut dyn Read, take: Take) -> Result<(), String> {
    let mut piece = vec![0; PIECE];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => take(piece.get(..read).unwrap_or_default())?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e.to_string()),
        }
    }
}

/// LZ4 blocks until the file ends or a length of zero comes. There is no mark of an end; a magic between blocks begins a further frame. As
/// `lib/decompress_unlz4.c` does.
fn lz4(source: &mut Source, take: Take) -> Result<(), String> {
    if word(source)? != Some(LZ4_MAGIC) {
        return Err(
            "it does not begin with the magic 0x184c2102 of the old framing, the only one that kernels read"
                .into(),
        );
    }
    let (mut packed, mut plain) = (Vec::new(), vec![0; LZ4_BLOCK]);
    loop {
        let at = source.at();
        let len = match word(source)? {
            None | Some(0) => return Ok(()),
            Some(LZ4_MAGIC) => continue,
            Some(len) => usize::try_from(len).unwrap_or(usize::MAX),
        };
        if len > LZ4_PACKED_MAX {
            return Err(format!(
                "the block at {at:#x} is said to have {len} bytes, more than the {LZ4_PACKED_MAX} one can have"
            ));
        }
        packed.clear();
        let got = source.by_ref().take(len as u64).read_to_end(&mut packed).map_err(|e| e.to_string())?;
        if got < len {
            return Err(format!("the block at {at:#x} has {got} of its {len} bytes"));
        }
        let unpacked = lz4_flex::block::decompress_into(&packed, &mut plain)
            .map_err(|e| format!("the block at {at:#x}: {e}"))?;
        take(plain.get(..unpacked).unwrap_or_default())?;
    }
}

/// Four bytes, little endian; `None` at the end, also when fewer than four are left.
fn word(source: &mut Source) -> Result<Option<u32>, String> {
    let mut bytes = Vec::with_capacity(4);
    source.by_ref().take(4).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes.first_chunk().map(|b| u32::from_le_bytes(*b)))
}
