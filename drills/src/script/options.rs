//! Option maps `#{…}`: which keys a verb knows and of which kind they are, as data.

use super::api::values::{Bytes, Span};
use rhai::{Dynamic, Map};
use std::collections::BTreeMap;
use std::time::Duration;

/// What an option holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `3.minutes`
    Duration,
    /// `4.gib`
    Bytes,
    /// `true` or `false`
    Bool,
    /// A whole number.
    Number,
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
}

/// One key of an option map.
#[derive(Debug)]
pub struct Opt {
    /// The key.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it does.
    pub doc: &'static str,
}

/// The keys one verb knows.
#[derive(Debug)]
pub struct OptionSet {
    /// The verb.
    pub verb: &'static str,
    /// Its keys.
    pub opts: &'static [Opt],
}

/// `drill(title, #{…})`
pub static HEADER: OptionSet = OptionSet {
    verb: "drill",
    opts: &[
        Opt { name: "every", kind: Kind::Duration, doc: "How often the drill should be repeated." },
        Opt {
            name: "rto",
            kind: Kind::Duration,
            doc: "The recovery time the business asks for. Lab time is not an RTO; the report shows both.",
        },
        Opt { name: "owner", kind: Kind::Text, doc: "Who answers for this drill." },
        Opt {
            name: "evidence",
            kind: Kind::Word(&["minimal", "normal", "full"]),
            doc: "What is kept besides journal, reports, plans and the logs of each start. `\"minimal\"`: nothing, no pictures. `\"normal\"`, when nothing is said: pictures \
                  of settled screens and the last one of a boot that did not do what it must. `\"full\"`: also the screen at the end of each wait that held, and all that \
                  commands print.",
        },
    ],
};

/// `repeat(title, #{…}, || …)`
pub static REPEAT: OptionSet = OptionSet {
    verb: "repeat",
    opts: &[
        Opt {
            name: "attempts",
            kind: Kind::Number,
            doc: "Attempts at most, 1 to 20; 1 when nothing is said.",
        },
        Opt {
            name: "need",
            kind: Kind::Number,
            doc: "Attempts that must pass. It is said whenever `attempts` is.",
        },
        Opt {
            name: "quarantine",
            kind: Kind::Text,
            doc: "Why a failure of this step does not fail the drill for a while. The step is performed all the same; its failure is *not performed* (exit code 4), never a pass.",
        },
        Opt {
            name: "ends",
            kind: Kind::Text,
            doc: "The last day of the quarantine, `\"2026-12-31\"`, in UTC. From the next day on a failure is a failure.",
        },
    ],
};

/// `start(#{…})`
pub static START: OptionSet = OptionSet {
    verb: "start",
    opts: &[
        Opt {
            name: "nvram",
            kind: Kind::Word(&["empty", "kept"]),
            doc: "Variable store of the firmware (Generation 2). `\"empty\"`, when nothing is said: no boot entry, the disk must start by itself. \
                  `\"kept\"`: what the machine's last start in this drill left.",
        },
        Opt {
            name: "secure_boot",
            kind: Kind::Bool,
            doc: "Whether the firmware enforces Secure Boot (Generation 2 only).",
        },
        Opt {
            name: "tpm",
            kind: Kind::Bool,
            doc: "A TPM 2.0, new at every start (Generation 2 only; by swtpm). What was sealed to the old machine's TPM stays sealed.",
        },
        Opt { name: "memory", kind: Kind::Bytes, doc: "Memory, whole MiB: `2.gib`." },
        Opt { name: "cpus", kind: Kind::Number, doc: "Processors, 1 to 64." },
        Opt {
            name: "resets",
            kind: Kind::Number,
            doc: "Resets that belong to a good boot of this guest, 0 to 20: a first boot that restarts once. Resets of a known class (SELinux labels all files anew, shim with a fresh firmware, fsck of a mounted root) need no number.",
        },
        Opt {
            name: "writes",
            kind: Kind::Bytes,
            doc: "How much the guest may write to its disk, whole MiB; 32 GiB when nothing is said. A guest that writes more is stopped and the drill is broken: the lab ended it.",
        },
        Opt {
            name: "marker",
            kind: Kind::Text,
            doc: "The guest writes this text into `/var/lib/drill-marker` by itself, without login or agent: systemd 252 or later takes it from the firmware's tables \
                  (SMBIOS). `assert_marker` reads it from the stopped disk.",
        },
    ],
};

/// `test_failover(#{…})`
pub static FAILOVER: OptionSet = OptionSet {
    verb: "test_failover",
    opts: &[
        Opt {
            name: "profile",
            kind: Kind::Word(engine::preflight::NAMES),
            doc: "Whose rules decide whether the disk is taken: `drill explain` lists them. `\"lab\"`, what drill itself can do, when nothing is said.",
        },
        Opt {
            name: "table",
            kind: Kind::Word(&["auto", "gpt", "mbr"]),
            doc: "Partition table of the copy. `\"auto\"` keeps GPT for Linux.",
        },
    ],
};

/// A checked option value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A duration.
    Duration(Duration),
    /// Bytes.
    Bytes(u64),
    /// A truth.
    Bool(bool),
    /// A number.
    Number(i64),
    /// Text or a known word.
    Text(String),
}

/// What is wrong with an option map: message and help.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadOption {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl OptionSet {
    /// Its keys, for people.
    pub fn names(&self) -> String {
        self.opts.iter().map(|o| o.name).collect::<Vec<_>>().join(", ")
    }

    /// The option of this key.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, key: &str) -> Result<&'static Opt, BadOption> {
        let opts: &'static [Opt] = self.opts;
        opts.iter().find(|o| o.name == key).ok_or_else(|| BadOption {
            message: format!("{} has no option {key}", self.verb),
            help: match super::api::nearest(key, opts.iter().map(|o| o.name)) {
                Some(near) => format!("did you mean {near}? It knows: {}", self.names()),
                None => format!("it knows: {}", self.names()),
            },
        })
    }

    /// All values of `map`, checked.
    ///
    /// # Errors
    /// At the first unknown key or wrong kind.
    pub fn read(&self, map: &Map) -> Result<BTreeMap<&'static str, Value>, BadOption> {
        map.iter()
            .map(|(key, value)| Ok((self.find(key)?.name, self.find(key)?.read(self.verb, value)?)))
            .collect()
    }
}

impl Opt {
    /// The value, checked.
    ///
    /// # Errors
    /// When it is of the wrong kind, or not one of the words.
    pub fn read(&self, verb: &str, value: &Dynamic) -> Result<Value, BadOption> {
        let text = value.clone().into_string().ok();
        let read = match self.kind {
            Kind::Duration => value.clone().try_cast::<Span>().map(|d| Value::Duration(d.0)),
            Kind::Bytes => value.clone().try_cast::<Bytes>().map(|b| Value::Bytes(b.0)),
            Kind::Bool => value.as_bool().ok().map(Value::Bool),
            Kind::Number => value.as_int().ok().map(Value::Number),
            Kind::Text => text.clone().map(Value::Text),
            Kind::Word(words) => text.clone().filter(|t| words.contains(&t.as_str())).map(Value::Text),
        };
        read.ok_or_else(|| BadOption {
            message: match text {
                Some(t) => format!("option {} of {verb} is \"{t}\"", self.name),
                None => format!("option {} of {verb} has the wrong kind of value", self.name),
            },
            help: format!("it wants {}", self.kind.wants()),
        })
    }
}

impl Kind {
    /// What it wants, for people.
    pub fn wants(self) -> String {
        match self {
            Kind::Duration => "a duration with its unit: 90.seconds, 3.minutes, 30.days".to_owned(),
            Kind::Bytes => "a size with its unit: 512.mib, 4.gib".to_owned(),
            Kind::Bool => "true or false".to_owned(),
            Kind::Number => "a whole number".to_owned(),
            Kind::Text => "text in quotes".to_owned(),
            Kind::Word(words) => words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(" or "),
        }
    }
}
