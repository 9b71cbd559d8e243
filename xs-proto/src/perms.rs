//! The permissions of nodes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::domid::DomId;
use crate::error::PayloadError;
use crate::payload::{Fields, number};

/// The kind of access that a domain has to a node (`enum xs_perm_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// `n`: no access.
    #[default]
    None,
    /// `r`: read the value, the names of the children and the permissions.
    Read,
    /// `w`: change the value, and create and remove children.
    Write,
    /// `b`: both read and write.
    ReadWrite,
}

impl Access {
    /// Returns the letter on the wire: `n`, `r`, `w` or `b`.
    pub const fn letter(self) -> char {
        match self {
            Access::None => 'n',
            Access::Read => 'r',
            Access::Write => 'w',
            Access::ReadWrite => 'b',
        }
    }

    /// Returns the access for a letter on the wire, or `None` for any other byte.
    pub const fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'n' => Some(Access::None),
            b'r' => Some(Access::Read),
            b'w' => Some(Access::Write),
            b'b' => Some(Access::ReadWrite),
            _ => None,
        }
    }

    /// Returns whether reading is allowed.
    pub const fn can_read(self) -> bool {
        matches!(self, Access::Read | Access::ReadWrite)
    }

    /// Returns whether writing is allowed.
    pub const fn can_write(self) -> bool {
        matches!(self, Access::Write | Access::ReadWrite)
    }
}

/// One entry of a node's permissions (`<perm-as-string>` in xenstore.txt): a letter and a domain
/// id, such as `b6`.
///
/// ```
/// use xs_proto::{Access, DomId, Permission};
///
/// let permission: Permission = "r5".parse()?;
/// assert_eq!(permission, Permission::read(5));
/// assert_eq!(permission, Permission::new(DomId::new(5), Access::Read));
/// assert_eq!(permission.to_string(), "r5");
/// # Ok::<(), xs_proto::ParsePermissionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// The domain that has the access.
    pub domid: DomId,
    /// The access of the domain.
    pub access: Access,
}

impl Permission {
    /// Creates an entry that gives `domid` the access `access`.
    pub fn new(domid: impl Into<DomId>, access: Access) -> Self {
        Permission { domid: domid.into(), access }
    }

    /// Creates an entry that gives `domid` no access, such as `n5`.
    pub fn none(domid: impl Into<DomId>) -> Self {
        Permission::new(domid, Access::None)
    }

    /// Creates an entry that allows `domid` to read, such as `r5`.
    pub fn read(domid: impl Into<DomId>) -> Self {
        Permission::new(domid, Access::Read)
    }

    /// Creates an entry that allows `domid` to write but not to read, such as `w5`.
    pub fn write(domid: impl Into<DomId>) -> Self {
        Permission::new(domid, Access::Write)
    }

    /// Creates an entry that allows `domid` to read and to write, such as `b5`.
    pub fn read_write(domid: impl Into<DomId>) -> Self {
        Permission::new(domid, Access::ReadWrite)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&letter, domid) = bytes.split_first()?;
        let domid = DomId::new(number(domid).ok()?);
        Some(Permission { access: Access::from_letter(letter)?, domid })
    }
}

impl fmt::Display for Permission {
    /// Writes the wire format, such as `r5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.access.letter(), self.domid)
    }
}

impl FromStr for Permission {
    type Err = ParsePermissionError;

    /// Parses the wire format, such as `r5`.
    fn from_str(text: &str) -> Result<Self, ParsePermissionError> {
        Permission::from_bytes(text.as_bytes()).ok_or(ParsePermissionError)
    }
}

/// The error of parsing a string that is not a [`Permission`], or not a list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a permission: expected one of the letters n, r, w, b and a domain id, such as r5")]
pub struct ParsePermissionError;

/// The permissions of a node (xenstore.txt, "Database read, write and permissions operations").
///
/// They are a list of at least one [`Permission`]. The first entry has a special meaning: its
/// domain owns the node and always has full access, and its [`Access`] applies to all domains
/// without an entry. Each further entry gives access to one domain. If a domain has several
/// entries, the first one counts.
///
/// ```
/// use xs_proto::{Access, DomId, Permissions};
///
/// let perms = Permissions::owned_by(5).read(DomId::DOM0);
/// assert_eq!(perms.to_string(), "n5 r0");
/// assert_eq!(perms, "n5 r0".parse()?);
///
/// assert_eq!(perms.access_of(DomId::new(5)), Access::ReadWrite);
/// assert_eq!(perms.access_of(DomId::DOM0), Access::Read);
/// assert_eq!(perms.access_of(DomId::new(7)), Access::None);
/// # Ok::<(), xs_proto::ParsePermissionError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Permissions {
    owner: Permission,
    others: Vec<Permission>,
}

impl Permissions {
    /// Creates permissions with one entry: `owner` owns the node, and other domains have no access.
    pub fn owned_by(owner: impl Into<DomId>) -> Self {
        Permission::none(owner).into()
    }

    /// Sets the access of all domains without an entry.
    ///
    /// ```
    /// use xs_proto::{Access, Permissions};
    ///
    /// let perms = Permissions::owned_by(0).with_default(Access::Read).write(5);
    /// assert_eq!(perms.to_string(), "r0 w5");
    /// ```
    #[must_use]
    pub fn with_default(mut self, access: Access) -> Self {
        self.owner.access = access;
        self
    }

    /// Appends an entry that gives `domid` the access `access`.
    #[must_use]
    pub fn with(mut self, domid: impl Into<DomId>, access: Access) -> Self {
        self.others.push(Permission::new(domid, access));
        self
    }

    /// Appends an entry that allows `domid` to read.
    #[must_use]
    pub fn read(self, domid: impl Into<DomId>) -> Self {
        self.with(domid, Access::Read)
    }

    /// Appends an entry that allows `domid` to write but not to read.
    #[must_use]
    pub fn write(self, domid: impl Into<DomId>) -> Self {
        self.with(domid, Access::Write)
    }

    /// Appends an entry that allows `domid` to read and to write.
    #[must_use]
    pub fn read_write(self, domid: impl Into<DomId>) -> Self {
        self.with(domid, Access::ReadWrite)
    }

    /// Creates permissions from their entries, the owner's first. Returns `None` if there are no
    /// entries.
    pub fn from_list(list: impl IntoIterator<Item = Permission>) -> Option<Self> {
        let mut list = list.into_iter();
        Some(Permissions { owner: list.next()?, others: list.collect() })
    }

    /// Returns the first entry: the owner, and the access of all domains without an entry.
    pub fn owner(&self) -> Permission {
        self.owner
    }

    /// Returns all entries, the owner's first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Permission> + Clone {
        // `iter::chain` would not implement `ExactSizeIterator`.
        (0..self.len()).map(|at| if at == 0 { self.owner } else { self.others[at - 1] })
    }

    /// Returns the number of entries. It is at least 1.
    #[allow(clippy::len_without_is_empty, reason = "the list is never empty")]
    pub fn len(&self) -> usize {
        1 + self.others.len()
    }

    /// Returns the access that xenstored grants to `domid`, if `domid` is not privileged.
    pub fn access_of(&self, domid: DomId) -> Access {
        if domid == self.owner.domid {
            return Access::ReadWrite;
        }
        let listed = self.others.iter().find(|entry| entry.domid == domid);
        listed.unwrap_or(&self.owner).access
    }

    /// Returns the entries as a map from domain to access.
    ///
    /// The map does not say which domain is the owner; the owner's access in it is that of all
    /// domains without an entry. If a domain has several entries, the map contains the first one.
    pub fn to_map(&self) -> BTreeMap<DomId, Access> {
        let mut map = BTreeMap::new();
        for entry in self.iter() {
            map.entry(entry.domid).or_insert(entry.access);
        }
        map
    }

    pub(crate) fn decode(mut fields: Fields<'_>) -> Result<Self, PayloadError> {
        let mut entry = || {
            let field = fields.string()?;
            let entry = Permission::from_bytes(field).ok_or_else(|| decode_error(field))?;
            Ok((entry, fields.is_empty()))
        };
        let (owner, mut last) = entry()?;
        let mut others = Vec::new();
        while !last {
            let (other, end) = entry()?;
            others.push(other);
            last = end;
        }
        Ok(Permissions { owner, others })
    }
}

/// Returns [`PayloadError::Number`] for a permission whose domain id is out of range, and
/// [`PayloadError::Permission`] for any other invalid field.
fn decode_error(field: &[u8]) -> PayloadError {
    match field {
        [letter, b'-', id @ ..] | [letter, id @ ..]
            if Access::from_letter(*letter).is_some()
                && !id.is_empty()
                && id.iter().all(u8::is_ascii_digit) =>
        {
            PayloadError::Number
        }
        _ => PayloadError::Permission,
    }
}

impl From<Permission> for Permissions {
    /// Creates permissions with one entry, which names the owner and the access of all other
    /// domains.
    fn from(owner: Permission) -> Self {
        Permissions { owner, others: Vec::new() }
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permissions({self})")
    }
}

impl fmt::Display for Permissions {
    /// Writes the entries separated by spaces, such as `n5 r0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner.fmt(f)?;
        self.others.iter().try_for_each(|entry| write!(f, " {entry}"))
    }
}

impl FromStr for Permissions {
    type Err = ParsePermissionError;

    /// Parses entries that are separated by spaces or commas.
    fn from_str(text: &str) -> Result<Self, ParsePermissionError> {
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let list = words.map(str::parse).collect::<Result<Vec<_>, _>>()?;
        Permissions::from_list(list).ok_or(ParsePermissionError)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn permissions_round_trip_as_text() {
        for good in ["b6", "n9", "r0", "w65535"] {
            assert_eq!(good.parse::<Permission>().unwrap().to_string(), good);
        }
        for bad in ["", "b", "x1", "6", "b6 ", "b-1", "b65536", "bb", "B6"] {
            assert_eq!(bad.parse::<Permission>(), Err(ParsePermissionError), "{bad}");
        }
    }

    #[test]
    fn entries_keep_their_order() {
        let perms: Permissions = "n5,r0 w9".parse().unwrap();
        assert_eq!(perms.to_string(), "n5 r0 w9");
        assert_eq!(perms.len(), 3);
        assert_eq!(perms.iter().len(), 3);
    }

    #[test]
    fn empty_lists_are_rejected() {
        assert!("".parse::<Permissions>().is_err());
        assert!(Permissions::from_list([]).is_none());
    }

    #[test]
    fn owner_has_full_access_whatever_the_map_lists() {
        let perms: Permissions = "n5 r0 b0 w9".parse().unwrap();
        let map = perms.to_map();
        assert_eq!(map[&DomId::new(5)], Access::None);
        assert_eq!(map[&DomId::DOM0], Access::Read);
        assert_eq!(map.len(), 3);
        assert_eq!(perms.access_of(DomId::new(5)), Access::ReadWrite);
        assert_eq!(perms.access_of(DomId::DOM0), Access::Read);
        assert_eq!(perms.access_of(DomId::new(77)), Access::None);
    }

    proptest! {
        #[test]
        fn parsed_text_round_trips(text in ".{0,12}") {
            if let Ok(perms) = text.parse::<Permissions>() {
                prop_assert_eq!(perms.to_string().parse(), Ok(perms));
            }
        }
    }
}
