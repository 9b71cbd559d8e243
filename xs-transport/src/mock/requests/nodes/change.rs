//! WRITE, MKDIR, RM and SET_PERMS.

use crate::mock::daemon::domains::DOMID_ANY;
use crate::mock::flavour::behaviour::NodeChanges;
use crate::mock::requests::answer::{DONE, INVALID, Result};
use crate::mock::requests::args;
use crate::mock::requests::call::Call;
use crate::mock::store::permissions::{Entry, NodePerms};
use crate::mock::store::quota::Quota;

impl Call<'_> {
    pub(in crate::mock::requests) fn write(&mut self, payload: &[u8]) -> Result {
        let end = payload.iter().position(|byte| *byte == 0).ok_or(INVALID)?;
        let path = self.canonical(Some(&payload[..end]), false)?;
        let value = &payload[end + 1..];
        match self.behaviour().node_changes {
            NodeChanges::BottomUp => self.bottom_up_write(&path, value)?,
            NodeChanges::TopDown { value_max } => self.top_down_write(&path, value, value_max)?,
        }
        DONE
    }

    pub(in crate::mock::requests) fn mkdir(&mut self, payload: &[u8]) -> Result {
        let path = self.canonical(args::only(payload), false)?;
        match self.behaviour().node_changes {
            NodeChanges::BottomUp => self.bottom_up_mkdir(&path)?,
            NodeChanges::TopDown { .. } => self.top_down_mkdir(&path)?,
        }
        DONE
    }

    pub(in crate::mock::requests) fn rm(&mut self, payload: &[u8]) -> Result {
        let path = self.canonical(args::only(payload), false)?;
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
        let others = list.len() as u32 - 1;
        let allowed = self.behaviour().permissions_allowed;
        if self.is_used_up(Quota::NodePermissions, others, allowed) {
            return Err(self.behaviour().quota_error.clone());
        }
        let entries = list.into_iter().map(|text| args::permission(text).map(Entry::new));
        let entries = entries.collect::<Option<_>>().ok_or(INVALID)?;
        let perms = NodePerms::from_entries(entries).ok_or(INVALID)?;
        let names_any = perms.entries().iter().any(|entry| entry.permission.domid == DOMID_ANY);
        if names_any && !self.behaviour().sets_permissions_of_any_domain {
            return Err(INVALID);
        }
        match self.behaviour().node_changes {
            NodeChanges::BottomUp => {
                self.learn_domains(&perms);
                let path = self.canonical(Some(path), true)?;
                self.bottom_up_set_perms(&path, perms)?;
            }
            NodeChanges::TopDown { .. } => {
                let path = self.canonical(Some(path), true)?;
                self.top_down_set_perms(&path, perms)?;
            }
        }
        DONE
    }
}
