//! WRITE, MKDIR, RM and SET_PERMS.

use xs_proto::{Access, ErrorCode, MessageType};

use crate::mock::daemon::domains::DOMID_ANY;
use crate::mock::flavour::behaviour::{NodeChanges, PermissionIds, SpecialWatches};
use crate::mock::numbers::{in_any_base, int_of_string};
use crate::mock::requests::answer::{DONE, INVALID, Result};
use crate::mock::requests::args;
use crate::mock::requests::call::Call;
use crate::mock::store::node::Node;
use crate::mock::store::permissions::{Entry, NodePerms, OWN};
use crate::mock::store::quota::Quota;
use crate::mock::store::tree::{INTRODUCE_DOMAIN, RELEASE_DOMAIN};

impl Call<'_> {
    pub(in crate::mock::requests) fn write(&mut self, payload: &[u8]) -> Result {
        let end = payload.iter().position(|byte| *byte == 0).ok_or(INVALID)?;
        let path = self.node_path(MessageType::Write, &payload[..end])?;
        let value = &payload[end + 1..];
        match self.behaviour().node_changes {
            NodeChanges::BottomUp => self.bottom_up_write(&path, value)?,
            NodeChanges::TopDown { value_max } => self.top_down_write(&path, value, value_max)?,
        }
        DONE
    }

    pub(in crate::mock::requests) fn mkdir(&mut self, payload: &[u8]) -> Result {
        let path = self.only_path(payload).map_err(to_no_memory)?;
        let path = self.node_path(MessageType::Mkdir, path)?;
        match self.behaviour().node_changes {
            NodeChanges::BottomUp => self.bottom_up_mkdir(&path)?,
            NodeChanges::TopDown { .. } => self.top_down_mkdir(&path)?,
        }
        DONE
    }

    pub(in crate::mock::requests) fn rm(&mut self, payload: &[u8]) -> Result {
        let path = self.only_path(payload).map_err(to_no_memory)?;
        let path = self.node_path(MessageType::Rm, path)?;
        match self.behaviour().node_changes {
            NodeChanges::BottomUp => self.bottom_up_rm(&path)?,
            NodeChanges::TopDown { .. } => self.top_down_rm(&path)?,
        }
        DONE
    }

    pub(in crate::mock::requests) fn set_perms(&mut self, payload: &[u8]) -> Result {
        let mut fields = args::strings(payload);
        let path = fields.next().ok_or(INVALID)?;
        let list: Vec<_> = fields.collect();
        if list.is_empty() {
            return Err(INVALID);
        }
        let count = list.len() as u32;
        if self.is_used_up(
            Quota::NodePermissions,
            count - 1,
            self.behaviour().bounds.node_permissions,
        ) {
            return Err(self.behaviour().quota_error.clone());
        }
        self.daemon.domains.note_guest(self.domid, Quota::NodePermissions, count.into());
        let entries: Option<_> = list.into_iter().map(|text| self.permission(text)).collect();
        let perms = NodePerms::from_entries(entries.ok_or(INVALID)?).ok_or(INVALID)?;
        let names_any = perms.entries().iter().any(|entry| entry.permission.domid == DOMID_ANY);
        if names_any && !self.behaviour().sets_permissions_of_any_domain {
            return Err(INVALID);
        }
        match self.behaviour().node_changes {
            NodeChanges::BottomUp => {
                let owner = perms.owner();
                let is_known = self.daemon.domains.get(owner).is_some();
                let exists = is_known || self.daemon.domains.exists(owner);
                if self.behaviour().owners_must_exist && (!exists || perms.entries()[0].void) {
                    return Err(self.note_error(&ErrorCode::NoEntry));
                }
                let perms = self.learn_domains(perms);
                if self.behaviour().special_watches == SpecialWatches::Texts
                    && path.starts_with(b"@")
                {
                    return self.set_perms_of_text(path, perms);
                }
                let path = self.node_path(MessageType::SetPerms, path)?;
                self.bottom_up_set_perms(&path, perms)?;
            }
            NodeChanges::TopDown { .. } => {
                let path = self.node_path(MessageType::SetPerms, path)?;
                self.top_down_set_perms(&path, perms)?;
            }
        }
        DONE
    }

    /// Sets the permissions of a special watch that is no node: in no transaction, and with an
    /// owner of the caller's choice.
    fn set_perms_of_text(&mut self, path: &[u8], perms: NodePerms) -> Result {
        let known = [INTRODUCE_DOMAIN, RELEASE_DOMAIN];
        let path = known.iter().find(|known| known.as_bytes() == path);
        let path = *path.ok_or_else(|| self.note_error(&INVALID))?;
        let node = self.daemon.store.get(path).cloned().ok_or(INVALID)?;
        if self.check(&node, OWN).is_err() {
            return Err(self.daemon.last_error.get().clone());
        }
        let generation = self.daemon.store.next_generation();
        self.daemon.store.put(Node { perms, generation, ..Node::clone(&node) });
        DONE
    }

    /// Parses a permission: a letter and the number of a domain.
    fn permission(&self, text: &[u8]) -> Option<Entry> {
        let (letter, number) = text.split_first()?;
        let access = Access::from_letter(*letter)?;
        let number = match self.behaviour().permission_ids {
            PermissionIds::AnyBase => in_any_base(number)?.into(),
            PermissionIds::Ocaml => int_of_string(number)?,
        };
        Some(Entry::of_number(number, access))
    }
}

/// Converts the error that the daemon takes for a missing node whose name it does not know.
fn to_no_memory(code: ErrorCode) -> ErrorCode {
    if code == ErrorCode::NoEntry { ErrorCode::NoMemory } else { code }
}
