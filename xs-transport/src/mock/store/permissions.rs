//! Permissions of a node.

use std::sync::Arc;

use xs_proto::{Access, DomId, Permission, Permissions};

/// The right to read a node.
pub(crate) const READ: u8 = 1;
/// The right to write a node.
pub(crate) const WRITE: u8 = 2;
/// The right to change a node's permissions.
pub(crate) const OWN: u8 = 4;
/// All rights.
pub(crate) const ALL: u8 = READ | WRITE | OWN;

/// The permissions of a node. The first entry names the owner and the access of unlisted domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodePerms(Arc<[Entry]>);

/// One entry of a node's permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) permission: Permission,
    /// The entry was made for an earlier domain of the same number and grants nothing.
    pub(crate) void: bool,
    /// The number in the entry if no domain can have it. The entry grants nothing.
    pub(crate) impossible: Option<i64>,
}

impl NodePerms {
    pub(crate) fn owned_by(owner: DomId) -> Self {
        NodePerms(Arc::new([Entry::new(Permission::new(owner, Access::None))]))
    }

    /// Returns `None` if the list is empty.
    pub(crate) fn from_entries(entries: Vec<Entry>) -> Option<Self> {
        if entries.is_empty() { None } else { Some(NodePerms(entries.into())) }
    }

    pub(crate) fn from_permissions(perms: &Permissions) -> Self {
        NodePerms(perms.iter().map(Entry::new).collect())
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.0
    }

    pub(crate) fn owner(&self) -> DomId {
        self.0[0].permission.domid
    }

    /// Returns the same permissions with another owner.
    pub(crate) fn with_owner(&self, owner: DomId) -> Self {
        if owner == self.owner() {
            return self.clone();
        }
        let mut entries = self.0.to_vec();
        entries[0].permission.domid = owner;
        NodePerms(entries.into())
    }

    /// Returns the same permissions with the entries void for which `is_void` holds. The owner's
    /// entry never becomes void.
    pub(crate) fn voiding(&self, is_void: impl Fn(DomId) -> bool) -> Self {
        let becomes_void = |entry: &Entry| !entry.void && is_void(entry.permission.domid);
        if !self.0[1..].iter().any(becomes_void) {
            return self.clone();
        }
        let mut entries = self.0.to_vec();
        for entry in &mut entries[1..] {
            entry.void |= is_void(entry.permission.domid);
        }
        NodePerms(entries.into())
    }

    /// Returns the same permissions without the entries of a domain. The owner's entry stays.
    pub(crate) fn without(&self, domid: DomId) -> Self {
        let (owner, others) = self.0.split_at(1);
        let kept = others.iter().filter(|entry| entry.permission.domid != domid);
        NodePerms(owner.iter().chain(kept).copied().collect())
    }

    /// Returns whether any entry is for a domain that cannot exist.
    pub(crate) fn has_impossible(&self) -> bool {
        self.0.iter().any(|entry| entry.impossible.is_some())
    }

    /// Returns the texts of all entries.
    pub(crate) fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|entry| entry.to_text())
    }

    /// Returns the permissions as they were set, including void entries.
    pub(crate) fn to_permissions(&self) -> Permissions {
        let list = self.0.iter().map(|entry| entry.permission);
        Permissions::from_list(list).unwrap_or(Permissions::owned_by(DomId::DOM0))
    }
}

impl Entry {
    pub(crate) fn new(permission: Permission) -> Self {
        Entry { permission, void: false, impossible: None }
    }

    /// Creates an entry for the domain of this number, which may be impossible.
    pub(crate) fn of_number(number: i64, access: Access) -> Self {
        match u16::try_from(number) {
            Ok(domid) => Entry::new(Permission::new(DomId::new(domid), access)),
            Err(_) => Entry {
                permission: Permission::new(NO_DOMAIN, access),
                void: true,
                impossible: Some(number),
            },
        }
    }

    /// Returns the entry as a client sees it.
    fn to_text(self) -> String {
        let letter = self.permission.access.letter();
        match self.impossible {
            Some(number) => format!("{letter}{number}"),
            None => self.permission.to_string(),
        }
    }
}

/// Stands for a domain that cannot exist.
const NO_DOMAIN: DomId = DomId::new(0xffff);

/// Returns the rights that an access mode grants.
pub(crate) fn rights_of(access: Access) -> u8 {
    let read = if access.can_read() { READ } else { 0 };
    let write = if access.can_write() { WRITE } else { 0 };
    read | write
}

#[cfg(test)]
mod tests {
    use super::*;

    fn perms(list: &[&str]) -> NodePerms {
        let entries = list.iter().map(|text| Entry::new(text.parse().unwrap()));
        NodePerms::from_entries(entries.collect()).unwrap()
    }

    #[test]
    fn void_entries_are_kept_and_shown() {
        let void = perms(&["n5", "r6", "b7"]).voiding(|domid| domid == DomId::new(6));
        assert_eq!(void.to_permissions().to_string(), "n5 r6 b7");
        assert!(void.entries()[1].void && !void.entries()[2].void);
        assert_eq!(void.with_owner(DomId::new(9)).owner(), DomId::new(9));
        assert!(NodePerms::from_entries(Vec::new()).is_none());
    }

    #[test]
    fn entries_of_a_domain_can_be_removed() {
        let without = perms(&["n5", "r6", "b5", "w6"]).without(DomId::new(6));
        assert_eq!(without.to_permissions().to_string(), "n5 b5");
        assert_eq!(perms(&["n5", "b5"]).without(DomId::new(5)), perms(&["n5"]));
    }
}
