//! READ, DIRECTORY, DIRECTORY_PART and GET_PERMS.

use xs_proto::{ErrorCode, MessageType, PAYLOAD_MAX, Reply, Strings};

use crate::mock::requests::answer::{Answer, INVALID, Result};
use crate::mock::requests::args;
use crate::mock::requests::call::Call;
use crate::mock::store::node::Children;
use crate::mock::store::permissions::READ;

impl Call<'_> {
    pub(in crate::mock::requests) fn read(&mut self, payload: &[u8]) -> Result {
        let path = self.path_for(MessageType::Read, args::only(payload))?;
        self.existing(&path, READ).map(Answer::Value)
    }

    pub(in crate::mock::requests) fn directory(&mut self, payload: &[u8]) -> Result {
        let path = self.path_for(MessageType::Directory, args::only(payload))?;
        let node = self.existing(&path, READ)?;
        if node.children.wire_len() > PAYLOAD_MAX && !self.behaviour().sends_long_directories {
            return Err(ErrorCode::TooBig);
        }
        let mut names: Vec<_> = node.children.iter().collect();
        if self.behaviour().sorts_children {
            names.sort_unstable();
        }
        let names = Strings::from_list(names).map_err(|_| ErrorCode::Io)?;
        Ok(Answer::Reply(Reply::Children(names)))
    }

    pub(in crate::mock::requests) fn directory_part(&mut self, payload: &[u8]) -> Result {
        let [path, offset] = args::exactly(payload).ok_or(INVALID)?;
        let path = self.path_for(MessageType::DirectoryPart, Some(path))?;
        let node = self.existing(&path, READ)?;
        let offset = args::atoi(offset) as u32 as usize;
        let room = PAYLOAD_MAX - node.generation.to_string().len() - 2;
        let (children, last) = part(&node.children, offset, room);
        Ok(Answer::Reply(Reply::Part { generation: node.generation, children, last }))
    }

    pub(in crate::mock::requests) fn get_perms(&mut self, payload: &[u8]) -> Result {
        let path = self.path_for(MessageType::GetPerms, args::only(payload))?;
        let node = self.existing(&path, READ)?;
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
