//! Who may do what with a node.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::payload::{Fields, PayloadError, number};

/// The number of a domain.
///
/// ```
/// use xs_proto::DomId;
///
/// assert_eq!("5".parse(), Ok(DomId::new(5)));
/// assert_eq!(DomId::DOM0.to_string(), "0");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomId(u16);

impl DomId {
    /// The privileged domain that runs the toolstack.
    pub const DOM0: DomId = DomId(0);

    /// The domain of this number.
    pub const fn new(number: u16) -> Self {
        DomId(number)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for DomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u16> for DomId {
    fn from(number: u16) -> Self {
        DomId(number)
    }
}

impl FromStr for DomId {
    type Err = ParseDomIdError;

    fn from_str(text: &str) -> Result<Self, ParseDomIdError> {
        number(text.as_bytes()).map(DomId).map_err(|_| ParseDomIdError)
    }
}

/// The text is not a number from 0 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a domain id is a number from 0 to 65535")]
pub struct ParseDomIdError;

/// What a domain may do with a node (`enum xs_perm_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// `n`: nothing.
    #[default]
    None,
    /// `r`: read the value, the names of the children and the permissions.
    Read,
    /// `w`: change the value, create and remove children.
    Write,
    /// `b`: both.
    ReadWrite,
}

impl Access {
    /// The letter that stands for it on the wire.
    pub const fn letter(self) -> char {
        match self {
            Access::None => 'n',
            Access::Read => 'r',
            Access::Write => 'w',
            Access::ReadWrite => 'b',
        }
    }

    /// The access that this letter stands for.
    pub const fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'n' => Some(Access::None),
            b'r' => Some(Access::Read),
            b'w' => Some(Access::Write),
            b'b' => Some(Access::ReadWrite),
            _ => None,
        }
    }

    /// Whether reading is allowed.
    pub const fn can_read(self) -> bool {
        matches!(self, Access::Read | Access::ReadWrite)
    }

    /// Whether writing is allowed.
    pub const fn can_write(self) -> bool {
        matches!(self, Access::Write | Access::ReadWrite)
    }
}

/// One entry of a node's permissions: `b6` on the wire.
///
/// ```
/// use xs_proto::{Access, DomId, Permission};
///
/// let permission: Permission = "r5".parse()?;
/// assert_eq!(permission, Permission::new(DomId::new(5), Access::Read));
/// assert_eq!(permission.to_string(), "r5");
/// # Ok::<(), xs_proto::ParsePermissionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// Who.
    pub domid: DomId,
    /// What.
    pub access: Access,
}

impl Permission {
    /// Gives `domid` this `access`.
    pub const fn new(domid: DomId, access: Access) -> Self {
        Permission { domid, access }
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&letter, domid) = bytes.split_first()?;
        Some(Permission { access: Access::from_letter(letter)?, domid: DomId(number(domid).ok()?) })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.access.letter(), self.domid)
    }
}

impl FromStr for Permission {
    type Err = ParsePermissionError;

    fn from_str(text: &str) -> Result<Self, ParsePermissionError> {
        Permission::from_bytes(text.as_bytes()).ok_or(ParsePermissionError)
    }
}

/// The text is not a permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a permission is one of the letters n, r, w and b and a domain id, such as r5")]
pub struct ParsePermissionError;

/// A node's permissions: the owner first, then who else may do what.
///
/// The owner may always do everything. The [`Access`] that stands beside the owner is that of
/// every domain which is not listed. Of several entries for one domain, the first counts. There
/// is always at least one entry.
///
/// ```
/// use xs_proto::{Access, DomId, Permissions};
///
/// let perms = Permissions::owned_by(DomId::new(5), Access::None)
///     .with(DomId::DOM0, Access::Read);
/// assert_eq!(perms.to_string(), "n5 r0");
/// assert_eq!(perms, "n5 r0".parse()?);
///
/// assert_eq!(perms.access_of(DomId::new(5)), Access::ReadWrite);
/// assert_eq!(perms.access_of(DomId::DOM0), Access::Read);
/// assert_eq!(perms.access_of(DomId::new(7)), Access::None);
/// # Ok::<(), xs_proto::ParsePermissionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permissions {
    owner: Permission,
    others: Vec<Permission>,
}

impl Permissions {
    /// Owned by `owner`, everyone else with the access `everyone`.
    pub const fn owned_by(owner: DomId, everyone: Access) -> Self {
        Permissions { owner: Permission::new(owner, everyone), others: Vec::new() }
    }

    /// The same with one more entry at the end.
    #[must_use]
    pub fn with(mut self, domid: DomId, access: Access) -> Self {
        self.others.push(Permission::new(domid, access));
        self
    }

    /// The entries, the owner's first; `None` if there is not one.
    pub fn from_list(list: impl IntoIterator<Item = Permission>) -> Option<Self> {
        let mut list = list.into_iter();
        Some(Permissions { owner: list.next()?, others: list.collect() })
    }

    /// The first entry: who owns the node, and what everyone who is not listed may do.
    pub fn owner(&self) -> Permission {
        self.owner
    }

    /// All entries, the owner's first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Permission> + Clone {
        // `Chain` has no exact size; indices do.
        (0..self.len()).map(|at| if at == 0 { self.owner } else { self.others[at - 1] })
    }

    /// The number of entries, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        1 + self.others.len()
    }

    /// What `domid` may do, judged as xenstored does for a domain without privileges.
    pub fn access_of(&self, domid: DomId) -> Access {
        if domid == self.owner.domid {
            return Access::ReadWrite;
        }
        let listed = self.others.iter().find(|entry| entry.domid == domid);
        listed.unwrap_or(&self.owner).access
    }

    /// The entries as a map from domain to access, as listed: the owner's access is that of
    /// everyone else. The order is lost; of several entries for one domain the first is kept.
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
            let entry = Permission::from_bytes(field).ok_or_else(|| why_not(field))?;
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

/// Tells a permission for a domain that cannot be from what is no permission at all.
fn why_not(field: &[u8]) -> PayloadError {
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

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.owner.fmt(f)?;
        self.others.iter().try_for_each(|entry| write!(f, " {entry}"))
    }
}

impl FromStr for Permissions {
    type Err = ParsePermissionError;

    /// Entries separated by blanks or commas.
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
    fn wire_strings_parse_and_print() {
        for good in ["b6", "n9", "r0", "w65535"] {
            assert_eq!(good.parse::<Permission>().unwrap().to_string(), good);
        }
        for bad in ["", "b", "x1", "6", "b6 ", "b-1", "b65536", "bb", "B6"] {
            assert_eq!(bad.parse::<Permission>(), Err(ParsePermissionError), "{bad}");
        }
    }

    #[test]
    fn the_list_is_never_empty_and_keeps_its_order() {
        assert!("".parse::<Permissions>().is_err());
        assert!(Permissions::from_list([]).is_none());
        let perms: Permissions = "n5,r0 w9".parse().unwrap();
        assert_eq!(perms.to_string(), "n5 r0 w9");
        assert_eq!(perms.len(), 3);
        assert_eq!(perms.iter().len(), 3);
    }

    #[test]
    fn the_map_is_as_listed_and_access_as_judged() {
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
        fn any_text_parses_or_not_without_panic(text in ".{0,12}") {
            if let Ok(perms) = text.parse::<Permissions>() {
                prop_assert_eq!(perms.to_string().parse(), Ok(perms));
            }
        }
    }
}
