//! READ, DIRECTORY, DIRECTORY_PART and GET_PERMS.

use xs_proto::{ErrorCode, MessageType, PAYLOAD_MAX, Reply, Strings};

use crate::mock::numbers::atoi;
use crate::mock::requests::answer::{Answer, INVALID, Result, strings};
use crate::mock::requests::args;
use crate::mock::requests::call::Call;
use crate::mock::store::node::Children;
use crate::mock::store::path::shown;
use crate::mock::store::permissions::READ;

impl Call<'_> {
    pub(in crate::mock::requests) fn read(&mut self, payload: &[u8]) -> Result {
        let path = self.node_path(MessageType::Read, self.only_path(payload)?)?;
        self.existing(&path, READ).map(Answer::Value)
    }

    pub(in crate::mock::requests) fn directory(&mut self, payload: &[u8]) -> Result {
        let path = self.node_path(MessageType::Directory, self.only_path(payload)?)?;
        let node = self.existing(&path, READ)?;
        if node.children.wire_len() > PAYLOAD_MAX && !self.behaviour().sends_long_directories {
            return Err(ErrorCode::TooBig);
        }
        if !self.behaviour().sorts_children {
            return strings(node.children.iter());
        }
        let mut names: Vec<_> = node.children.iter().map(shown).collect();
        names.sort_unstable();
        strings(names.iter().map(|name| name.as_bytes()))
    }

    pub(in crate::mock::requests) fn directory_part(&mut self, payload: &[u8]) -> Result {
        let [path, offset] = args::exactly(payload).ok_or(INVALID)?;
        let path = self.node_path(MessageType::DirectoryPart, path)?;
        let node = self.existing(&path, READ)?;
        let offset = atoi(offset) as u32 as usize;
        let room = PAYLOAD_MAX - node.generation.to_string().len() - 2;
        let (children, last) = part(&node.children, offset, room);
        Ok(Answer::Reply(Reply::Part { generation: node.generation, children, last }))
    }

    pub(in crate::mock::requests) fn get_perms(&mut self, payload: &[u8]) -> Result {
        let path = self.node_path(MessageType::GetPerms, self.only_path(payload)?)?;
        let node = self.existing(&path, READ)?;
        if node.perms.has_impossible() {
            return strings(node.perms.texts());
        }
        Ok(Answer::Reply(Reply::Permissions(node.perms.to_permissions())))
    }
}

/// Returns the names from byte `offset` of their list on, as far as `room` bytes suffice, and
/// whether they are the last. An offset inside a name returns the rest of the name.
fn part(children: &Children, offset: usize, room: usize) -> (Strings<'static>, bool) {
    let wire = children.wire();
    let rest = wire.get(offset..).unwrap_or_default();
    let most = &rest[..room.min(rest.len())];
    let end = most.iter().rposition(|byte| *byte == 0).map_or(0, |at| at + 1);
    (Strings::new(most[..end].to_vec()).unwrap_or_default(), end == rest.len())
}
