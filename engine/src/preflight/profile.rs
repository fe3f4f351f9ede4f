//! What a rule and a profile are, and the profiles there are.

use super::{Check, asr, azure_gen1, lab};
use crate::guest::Severity;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One rule.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Rule {
    /// Its name: `asr-2015/os-disk-300gb`.
    pub id: &'static str,
    /// What it looks at.
    pub checks: &'static str,
    /// The rule, as a sentence.
    pub text: &'static str,
    /// Where that stands.
    pub source: Source,
    /// How much it matters to a conversion.
    pub severity: Severity,
    /// What to do; empty when nothing needs to be done.
    pub fix: &'static str,
    /// What it means for the verdict "ready for Azure", if anything.
    pub azure: Option<Weight>,
    /// How it is looked for.
    #[serde(skip)]
    pub check: Check,
}

/// Where a rule was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Source {
    /// Which text, and where in it.
    pub what: &'static str,
    /// Of when.
    pub date: &'static str,
    /// Where to find it.
    pub address: &'static str,
}

/// What a rule means for the verdict "ready for Azure".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// A guest that breaks it does not start there, or cannot be reached there.
    Must,
    /// The documentation asks for it; guests start and are reached without it.
    Should,
}

/// The profiles by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileId {
    /// Azure Site Recovery, Hyper-V to Azure, as documented in 2015 and 2016.
    #[serde(rename = "asr-2015")]
    Asr2015,
    /// The same in January 2020.
    #[serde(rename = "asr-hyperv-2020")]
    AsrHyperV2020,
    /// The path of VMware and physical machines, 2019 and 2020.
    #[serde(rename = "asr-vmware-2019")]
    AsrVmware2019,
    /// What Azure itself asks of the disk of a Generation 1 virtual machine.
    AzureGen1,
    /// What this tool can do.
    #[default]
    Lab,
}

/// Names of all profiles, in the order of [`PROFILES`].
pub const NAMES: &[&str] = &["asr-2015", "asr-hyperv-2020", "asr-vmware-2019", "azure-gen1", "lab"];

/// A named, dated list of rules.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Profile {
    /// Its name.
    pub id: ProfileId,
    /// What it is about, in a few words.
    pub title: &'static str,
    /// The date of its texts.
    pub date: &'static str,
    /// What it is and what it is not.
    pub about: &'static str,
    /// What no source says.
    pub silent: &'static [&'static str],
    /// What the texts ask for and a disk cannot show.
    pub unseen: &'static [&'static str],
    /// Its rules.
    pub rules: &'static [Rule],
}

/// All profiles.
pub static PROFILES: [Profile; 5] =
    [asr::ASR_2015, asr::ASR_HYPERV_2020, asr::ASR_VMWARE_2019, azure_gen1::AZURE_GEN1, lab::LAB];

/// The profile of that name.
pub fn profile(id: ProfileId) -> &'static Profile {
    let index = match id {
        ProfileId::Asr2015 => 0,
        ProfileId::AsrHyperV2020 => 1,
        ProfileId::AsrVmware2019 => 2,
        ProfileId::AzureGen1 => 3,
        ProfileId::Lab => 4,
    };
    &PROFILES[index]
}

/// The rule of that name; `lab/` may be left out, as the other commands do.
pub fn rule(name: &str) -> Option<&'static Rule> {
    let all = || PROFILES.iter().flat_map(|p| p.rules);
    all().find(|r| r.id == name).or_else(|| all().find(|r| r.id.strip_prefix("lab/") == Some(name)))
}

impl ProfileId {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            ProfileId::Asr2015 => NAMES[0],
            ProfileId::AsrHyperV2020 => NAMES[1],
            ProfileId::AsrVmware2019 => NAMES[2],
            ProfileId::AzureGen1 => NAMES[3],
            ProfileId::Lab => NAMES[4],
        }
    }
}

impl fmt::Display for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ProfileId {
    type Err = String;
    fn from_str(text: &str) -> Result<ProfileId, String> {
        let found = PROFILES.iter().map(|p| p.id).find(|id| id.name() == text);
        found.ok_or_else(|| format!("there is no profile {text:?}; there are: {}", NAMES.join(", ")))
    }
}
