//! Numbers of the NBD protocol, as in the NetworkBlockDevice project's `doc/proto.md`. All integers are big-endian.

/// First magic of the server. "Newstyle negotiation".
pub const NBDMAGIC: u64 = 0x4e42_444d_4147_4943;
/// `IHAVEOPT`: second magic, and before each option of the client. "Newstyle negotiation".
pub const IHAVEOPT: u64 = 0x4948_4156_454f_5054;
/// Before each option reply. "Fixed newstyle negotiation".
pub const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
/// Before each request. "Request message".
pub const REQUEST: u32 = 0x2560_9513;
/// Before each simple reply. "Simple reply message".
pub const SIMPLE_REPLY: u32 = 0x6744_6698;

/// Before each chunk of a structured reply. "Structured reply chunk message".
pub const STRUCTURED_REPLY: u32 = 0x668e_33ef;

/// "Handshake flags": fixed newstyle.
pub const FLAG_FIXED_NEWSTYLE: u16 = 1 << 0;
/// "Handshake flags": no 124 zero bytes after `NBD_OPT_EXPORT_NAME`.
pub const FLAG_NO_ZEROES: u16 = 1 << 1;

/// "Transmission flags": the flags field has a meaning.
pub const HAS_FLAGS: u16 = 1 << 0;
/// "Transmission flags": writes fail with `EPERM`.
pub const READ_ONLY: u16 = 1 << 1;
/// "Transmission flags": a flush is understood.
pub const SEND_FLUSH: u16 = 1 << 2;
/// "Transmission flags": connections see the same bytes.
pub const CAN_MULTI_CONN: u16 = 1 << 8;

/// "Option types".
pub mod option {
    /// Choose an export and go on, in the old way.
    pub const EXPORT_NAME: u32 = 1;
    /// Say goodbye.
    pub const ABORT: u32 = 2;
    /// List the exports.
    pub const LIST: u32 = 3;
    /// Describe an export.
    pub const INFO: u32 = 6;
    /// Describe an export and go on.
    pub const GO: u32 = 7;
    /// Answer reads in structured chunks.
    pub const STRUCTURED_REPLY: u32 = 8;
    /// Choose what block status shall tell.
    pub const SET_META_CONTEXT: u32 = 10;
}

/// "Option reply types".
pub mod reply {
    /// Done.
    pub const ACK: u32 = 1;
    /// One export.
    pub const SERVER: u32 = 2;
    /// One piece of information.
    pub const INFO: u32 = 3;
    /// One chosen metadata context.
    pub const META_CONTEXT: u32 = 4;
    /// Set in every error.
    pub const ERROR: u32 = 1 << 31;
    /// Not known here.
    pub const ERR_UNSUP: u32 = (1 << 31) | 1;
    /// Malformed.
    pub const ERR_INVALID: u32 = (1 << 31) | 3;
    /// No such export.
    pub const ERR_UNKNOWN: u32 = (1 << 31) | 6;
}

/// "Information types" of `NBD_REP_INFO`.
pub mod info {
    /// Size and transmission flags.
    pub const EXPORT: u16 = 0;
    /// Minimum, preferred and maximum block size.
    pub const BLOCK_SIZE: u16 = 3;
}

/// "Request types".
pub mod command {
    /// Read.
    pub const READ: u16 = 0;
    /// Write; its payload follows.
    pub const WRITE: u16 = 1;
    /// Goodbye, no reply.
    pub const DISC: u16 = 2;
    /// Flush.
    pub const FLUSH: u16 = 3;
    /// Discard.
    pub const TRIM: u16 = 4;
    /// Write zeroes, no payload.
    pub const WRITE_ZEROES: u16 = 6;
    /// Tell what a stretch is made of.
    pub const BLOCK_STATUS: u16 = 7;
}

/// "Structured reply flags" and "Structured reply types".
pub mod chunk {
    /// Flag: the last chunk of its reply.
    pub const DONE: u16 = 1 << 0;
    /// Nothing; only ends a reply.
    pub const NONE: u16 = 0;
    /// Bytes at an offset.
    pub const OFFSET_DATA: u16 = 1;
    /// Zeros at an offset.
    pub const OFFSET_HOLE: u16 = 2;
    /// Stretches of one metadata context.
    pub const BLOCK_STATUS: u16 = 5;
    /// Set in every error: number and words.
    pub const ERROR: u16 = 1 << 15;
}

/// "base:allocation" metadata context.
pub mod allocation {
    /// Its name.
    pub const NAME: &str = "base:allocation";
    /// Nothing is stored.
    pub const HOLE: u32 = 1 << 0;
    /// Reads as zeros.
    pub const ZERO: u32 = 1 << 1;
}

/// "Error values".
pub mod error {
    /// Not permitted.
    pub const EPERM: u32 = 1;
    /// Input or output error.
    pub const EIO: u32 = 5;
    /// Invalid argument.
    pub const EINVAL: u32 = 22;
}

/// The largest payload a client may ask for without agreement, and the largest we accept. "Block size constraints".
pub const MAX_PAYLOAD: u32 = 32 << 20;
/// The longest export name. "Values", string length limit.
pub const MAX_NAME: usize = 4096;
