//! File identifier and headers: what the file is, and where its log is. \[MS-VHDX\] §2.2.1, §2.2.2.

use super::format::{FILE_LEN_MAX, HEADER_LEN, HEADERS_AT, MIB, RawHeader, SIGNATURE, checksum};
use crate::container::{corrupt, printable, read_file};
use crate::disk::{ReadError, SourceFile};
use crate::table::guid::Guid;
use zerocopy::FromBytes;

/// The current header, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub at: u64,
    pub sequence: u64,
    /// Changes whenever the content of the disk may have: a child names its parent by it. §2.2.2.
    pub data_write_guid: Guid,
    /// Not nil: the log holds changes that are not in place yet. §2.2.2.
    pub log_guid: Guid,
    pub log_at: u64,
    pub log_len: u64,
}

/// Signature, and the name of the program that made the file. §2.2.1.
pub(super) fn read_identifier(source: &SourceFile) -> Result<Option<String>, ReadError> {
    let mut bytes = [0; 8 + 512];
    read_file(source, 0, &mut bytes)?;
    let (signature, creator) = bytes.split_at(8);
    if signature != SIGNATURE {
        return Err(corrupt("file identifier", 0, "`vhdxfile`", format!("{signature:02x?}")));
    }
    if source.len() > FILE_LEN_MAX {
        return Err(corrupt(
            "file length",
            0,
            format!("at most {FILE_LEN_MAX:#x}"),
            format!("{:#x}", source.len()),
        ));
    }
    let units = creator.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b));
    Ok(printable(char::decode_utf16(units).map(|c| c.unwrap_or('?'))))
}

/// The current one of the two headers: valid, with the higher sequence number. One invalid header is no damage, it is how
/// an interrupted update looks; it is noted, though. §2.2.2.
pub(super) fn read_header(source: &SourceFile, notes: &mut Vec<String>) -> Result<Header, ReadError> {
    let [first_at, second_at] = HEADERS_AT;
    match (header_at(source, first_at), header_at(source, second_at)) {
        (Ok((a, raw_a)), Ok((b, raw_b))) => match a.sequence.cmp(&b.sequence) {
            std::cmp::Ordering::Greater => Ok(a),
            std::cmp::Ordering::Less => Ok(b),
            std::cmp::Ordering::Equal if raw_a == raw_b => Ok(a),
            std::cmp::Ordering::Equal => {
                let wanted = format!("a sequence number other than that of the header at {first_at:#x}");
                Err(corrupt("second header", second_at, wanted, b.sequence))
            }
        },
        (Ok((header, _)), Err(error)) | (Err(error), Ok((header, _))) => {
            notes.push(format!(
                "one of the two headers is not valid, the one at {:#x} was used: {error}",
                header.at
            ));
            Ok(header)
        }
        (Err(ReadError::Corrupt { what, at, wanted, found }), Err(second)) => {
            let found = format!("{found}; the other header is no better: {second}");
            Err(ReadError::Corrupt { what, at, wanted, found })
        }
        (Err(first), Err(_)) => Err(first),
    }
}

fn header_at(source: &SourceFile, at: u64) -> Result<(Header, Vec<u8>), ReadError> {
    let mut bytes = vec![0; HEADER_LEN];
    read_file(source, at, &mut bytes)?;
    let bad =
        |what: &str, wanted: String, found: String| Err(corrupt(format!("header {what}"), at, wanted, found));
    let Ok((raw, _)) = RawHeader::read_from_prefix(&bytes) else {
        return bad("length", HEADER_LEN.to_string(), bytes.len().to_string());
    };
    if raw.signature != *b"head" {
        return bad("signature", "`head`".into(), format!("{:02x?}", raw.signature));
    }
    let (stored, computed) = (raw.checksum.get(), checksum(&bytes));
    if stored != computed {
        return bad("CRC-32C", format!("{computed:#010x}"), format!("{stored:#010x}"));
    }
    if raw.version.get() != 1 {
        return bad("version", "1".into(), raw.version.get().to_string());
    }
    if raw.log_version.get() != 0 {
        return bad("log version", "0".into(), raw.log_version.get().to_string());
    }
    let (log_at, log_len) = (raw.log_at.get(), u64::from(raw.log_len.get()));
    if log_len == 0 || log_len % MIB != 0 || log_at < MIB || log_at % MIB != 0 {
        let found = format!("{log_len:#x} bytes at {log_at:#x}");
        return bad("log", "whole MiB, from 1 MiB on".into(), found);
    }
    let log_guid = Guid::from_disk(raw.log_guid);
    let data_write_guid = Guid::from_disk(raw.data_write_guid);
    Ok((Header { at, sequence: raw.sequence.get(), data_write_guid, log_guid, log_at, log_len }, bytes))
}
