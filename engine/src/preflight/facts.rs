//! What the rules ask: gathered when it is first asked for, and once.

use super::network::{self, Network};
use crate::container::{ContainerInfo, OutFormat};
use crate::guest::Guest;
use crate::guest::initramfs::{Equipment, equipment};
use std::cell::OnceCell;

/// What is to be converted, and to what.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The guest.
    pub guest: &'a Guest,
    /// The container it came in, when it came in one.
    pub container: Option<&'a ContainerInfo>,
    /// The container of the result, when a file is to be made.
    pub result: Option<OutFormat>,
}

/// A subject, and what was found out about it.
pub struct Facts<'a> {
    pub(super) subject: Subject<'a>,
    equipment: OnceCell<Vec<Equipment>>,
    network: OnceCell<Option<Network>>,
}

impl<'a> Facts<'a> {
    /// Nothing is looked at before a rule asks.
    pub fn of(subject: Subject<'a>) -> Facts<'a> {
        Facts { subject, equipment: OnceCell::new(), network: OnceCell::new() }
    }

    /// What each way to start brings along, the default first.
    pub fn equipment(&self) -> &[Equipment] {
        self.equipment.get_or_init(|| equipment(self.subject.guest))
    }

    /// What the guest's network configuration says; `None` without a root file system to read it from.
    pub(super) fn network(&self) -> Option<&Network> {
        let look = || self.subject.guest.root().map(|(volume, root)| network::look(volume, root));
        self.network.get_or_init(look).as_ref()
    }
}
