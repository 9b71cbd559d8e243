//! From a request to its answer.

use xs_proto::{ErrorCode, Header, MessageType, Reply, TxId};

use super::answer::{Answer, Result};
use super::args;
use super::call::Call;
use crate::mock::daemon::domains::is_privileged;
use crate::mock::daemon::trace::Trace;
use crate::mock::daemon::{ConnId, Daemon};
use crate::mock::store::quota::Quota;
use crate::mock::store::transaction::Transaction;

impl Daemon {
    /// Handles one request: carries it out, and sends the reply and the events.
    pub(crate) fn handle(&mut self, id: ConnId, header: Header, payload: &[u8]) {
        let Some(domid) = self.domid_of(id) else {
            return;
        };
        self.begin_request(domid);
        self.tracer.emit(|| Trace::request(id, domid, header, payload));
        let answer = self.answer(id, header, payload);
        let error;
        let reply = match &answer {
            Ok(Answer::Reply(reply)) => reply,
            Ok(Answer::Value(node)) => &Reply::Value((&*node.value).into()),
            Err(code) => {
                error = Reply::Error(code.clone());
                &error
            }
        };
        let msg_type = MessageType::from_u32(header.msg_type);
        let mut reply_header = header;
        if is_outside_transactions(msg_type) && !self.behaviour.watch_reply_repeats_transaction {
            reply_header.tx_id = TxId::NONE;
        }
        let events_first = self
            .behaviour
            .replies_after_events
            .is_none_or(|types| msg_type.is_some_and(|msg_type| types.contains(&msg_type)));
        if events_first {
            self.deliver();
            self.reply(id, reply_header, reply);
        } else {
            self.reply(id, reply_header, reply);
            self.deliver();
        }
        if msg_type == Some(MessageType::Watch) && answer.is_ok() {
            self.send_first_event(id, payload);
        }
        self.end_request();
    }

    /// Returns the answer to a request. Events that fire wait for their delivery.
    fn answer(&mut self, id: ConnId, header: Header, payload: &[u8]) -> Result {
        let behaviour = self.behaviour;
        let known = MessageType::from_u32(header.msg_type).filter(|msg_type| {
            use MessageType::{Error, Invalid, WatchEvent};
            !matches!(msg_type, Error | Invalid | WatchEvent)
                && !behaviour.unsupported.contains(msg_type)
        });
        let msg_type = match known {
            None if behaviour.checks_transaction_before_type => MessageType::Invalid,
            known => known.ok_or(ErrorCode::NotSupported)?,
        };
        let conn = self.conn_mut(id).ok_or(ErrorCode::Io)?;
        let domid = conn.domid;
        if behaviour.checks_privilege_before_transaction
            && behaviour.privileged.contains(&msg_type)
            && !is_privileged(domid)
        {
            return Err(ErrorCode::Access);
        }
        let tx_id = if is_outside_transactions(known) { TxId::NONE } else { header.tx_id };
        let transaction = match tx_id {
            TxId::NONE => None,
            TxId(tx_id) => match conn.transactions.remove(&tx_id) {
                None => return Err(behaviour.unknown_transaction_error.clone()),
                found => found,
            },
        };
        // The transaction of the current request does not count in the domain's memory.
        if let (Some(transaction), Some(domain)) = (&transaction, self.domains.get_mut(domid)) {
            domain.bytes -= transaction.bytes();
            domain.held -= transaction.footprint();
        }
        let mut call = Call { daemon: self, conn: id, domid, transaction };
        let answer = call.dispatch(header, msg_type, payload);
        if let Some(transaction) = call.transaction {
            if let Transaction::Tracked(tracked) = &transaction {
                let domains = &self.domains;
                domains.note_guest(domid, Quota::TransactionNodes, tracked.accesses() as i64);
                domains.note_guest(domid, Quota::NodeSize, tracked.largest() as i64);
            }
            if let Some(domain) = self.domains.get_mut(domid) {
                domain.bytes += transaction.bytes();
                domain.held += transaction.footprint();
            }
            if let Some(conn) = self.conn_mut(id) {
                conn.transactions.insert(tx_id.0, transaction);
            }
        }
        answer
    }

    /// Sends the event that each new watch fires.
    fn send_first_event(&mut self, id: ConnId, payload: &[u8]) {
        if let Some([path, token]) = args::at_least(payload) {
            // The path has been accepted, so it is ASCII.
            self.fire_for(id, &String::from_utf8_lossy(path), token);
            self.deliver();
        }
    }
}

/// Returns whether requests of this type are never part of a transaction.
fn is_outside_transactions(msg_type: Option<MessageType>) -> bool {
    matches!(msg_type, Some(MessageType::Watch | MessageType::Unwatch))
}

impl Call<'_> {
    /// Carries out a request.
    pub(super) fn dispatch(
        &mut self,
        header: Header,
        msg_type: MessageType,
        payload: &[u8],
    ) -> Result {
        if self.transaction_is_full() {
            return Err(self.behaviour().quota_error.clone());
        }
        if msg_type == MessageType::TransactionEnd {
            return self.transaction_end(header, payload);
        }
        let is_privileged = self.behaviour().privileged.contains(&msg_type);
        // This failure is not logged: the ceilings also limit the log of a transaction.
        self.check_ceilings(msg_type)?;
        let answer = if is_privileged && !self.has_privilege() {
            Err(ErrorCode::Access)
        } else {
            self.run(msg_type, payload)
        };
        self.log(header, payload, answer)
    }

    fn run(&mut self, msg_type: MessageType, payload: &[u8]) -> Result {
        match msg_type {
            MessageType::Read => self.read(payload),
            MessageType::Directory => self.directory(payload),
            MessageType::DirectoryPart => self.directory_part(payload),
            MessageType::GetPerms => self.get_perms(payload),
            MessageType::Write => self.write(payload),
            MessageType::Mkdir => self.mkdir(payload),
            MessageType::Rm => self.rm(payload),
            MessageType::SetPerms => self.set_perms(payload),
            MessageType::Watch => self.watch(payload),
            MessageType::Unwatch => self.unwatch(payload),
            MessageType::ResetWatches => self.reset_watches(),
            MessageType::TransactionStart => self.transaction_start(),
            MessageType::Introduce => self.introduce(payload),
            MessageType::Release => self.release(payload),
            MessageType::Resume => self.resume(payload),
            MessageType::SetTarget => self.set_target(payload),
            MessageType::GetDomainPath => self.get_domain_path(payload),
            MessageType::IsDomainIntroduced => self.is_domain_introduced(payload),
            MessageType::GetFeature => self.get_feature(payload),
            MessageType::SetFeature => self.set_feature(payload),
            MessageType::GetQuota => self.get_quota(payload),
            MessageType::SetQuota => self.set_quota(payload),
            MessageType::Control => self.control(payload),
            _ => Err(ErrorCode::NotSupported),
        }
    }
}
