//! Requests about domains, which a toolstack makes.

use xs_proto::{DomId, ErrorCode, MessageType, Reply};

use super::answer::{Answer, DONE, INVALID, Result, text};
use super::args;
use super::call::Call;
use crate::mock::daemon::domains::{DOMID_SELF, Domain, Rings, is_privileged};
use crate::mock::flavour::behaviour::{DomainIds, FinalNul, Release};
use crate::mock::numbers::{atoi, first_number, int_of_string, whole_u16};
use crate::mock::store::transaction::Transaction;

impl Call<'_> {
    pub(super) fn introduce(&mut self, payload: &[u8]) -> Result {
        let [domid, gfn, port] = self.leading(payload).ok_or(INVALID)?;
        let domid = self.domid_for(MessageType::Introduce, domid)?.ok_or(INVALID)?;
        let rings = if self.behaviour().domain_ids == DomainIds::Ocaml {
            // oxenstored does not handle this exception, and replies EIO.
            let gfn = int_of_string(gfn).ok_or(ErrorCode::Io)?;
            Rings { gfn, port: int_of_string(port).ok_or(INVALID)? }
        } else {
            Rings { gfn: 0, port: atoi(port).into() }
        };
        if rings.port == 0 && !self.behaviour().introduces_with_port_0 {
            return Err(INVALID);
        }
        let repeats_frame = self.behaviour().second_introduce_repeats_frame;
        if !self.daemon.domains.exists(domid) {
            return match self.daemon.domains.introduced(domid) {
                // The daemon does not check whether a domain that it knows still exists.
                Some(_) if !repeats_frame => DONE,
                Some(known) if known.rings.gfn == rings.gfn => Err(ErrorCode::Io),
                _ => Err(INVALID),
            };
        }
        self.daemon.end_replaced(domid);
        let is_new = self.daemon.domains.introduced(domid).is_none();
        if is_new && !self.daemon.domains.open_ring(domid, rings.port) {
            return Err(INVALID);
        }
        if self.daemon.introduce_with(domid, rings) {
            return DONE;
        }
        let domain = self.daemon.domains.introduced(domid).ok_or(INVALID)?;
        if repeats_frame && domain.rings.gfn != rings.gfn {
            return Err(INVALID);
        }
        domain.rings = rings;
        if is_privileged(domid) {
            return DONE;
        }
        let keeps_connection = self.behaviour().second_introduce_keeps_connection;
        if !keeps_connection {
            for conn in self.daemon.conns_of(domid) {
                self.daemon.reset(conn);
            }
        }
        self.daemon.domains.reopen_ring(domid, rings.port, keeps_connection);
        DONE
    }

    pub(super) fn release(&mut self, payload: &[u8]) -> Result {
        let [domid] = self.exact(payload).ok_or(INVALID)?;
        let domid = self.domid_for(MessageType::Release, domid)?;
        let unknown = self.behaviour().unknown_domain_error;
        let domid = domid.ok_or_else(|| unknown.clone())?;
        if self.daemon.has_host_commands && self.introduced(Some(domid)).is_err() {
            // For a client that has no other way to report the death of a domain.
            self.daemon.release(domid);
            return Err(unknown.clone());
        }
        match self.behaviour().release {
            Release::Nodes | Release::NodesThenPermissions => {
                if domid == DomId::DOM0 {
                    return Err(INVALID);
                }
                self.introduced(Some(domid))?;
                // The daemon cannot free the connection of a domain that is a target.
                if self.daemon.domains.is_target(domid) {
                    return DONE;
                }
                let owns_special = self.daemon.store.owns_special_nodes(domid);
                if owns_special && !self.behaviour().releases_owners_of_special_nodes {
                    return Err(INVALID);
                }
                self.daemon.release(domid);
                DONE
            }
            Release::NodesAndPermissions => {
                // Inside of a transaction, the nodes are removed from its snapshot.
                self.swap_stores();
                let is_released = self.daemon.release(domid);
                if !is_released {
                    self.daemon.remove_traces_of(domid);
                }
                self.swap_stores();
                if is_released { DONE } else { Err(unknown.clone()) }
            }
        }
    }

    /// Exchanges the daemon's store and the snapshot of the request's transaction, if it has one.
    fn swap_stores(&mut self) {
        if let Some(Transaction::Snapshot(snapshot)) = &mut self.transaction {
            std::mem::swap(&mut self.daemon.store, &mut snapshot.store);
        }
    }

    pub(super) fn resume(&mut self, payload: &[u8]) -> Result {
        let domid = self.domid_of_query(MessageType::Resume, payload)?;
        if domid == Some(DomId::DOM0) && !self.behaviour().resumes_dom0 {
            return Err(INVALID);
        }
        self.introduced(domid)?.shut_down = false;
        DONE
    }

    pub(super) fn set_target(&mut self, payload: &[u8]) -> Result {
        let arguments = if self.behaviour().set_target_ignores_extra_arguments {
            self.leading(payload)
        } else {
            self.exact(payload)
        };
        let [domid, target] = arguments.ok_or(INVALID)?;
        let domid = self.domid_for(MessageType::SetTarget, domid)?.ok_or(ErrorCode::NoEntry)?;
        let target = self.domid_for(MessageType::SetTarget, target)?;
        let is_introduced = target.and_then(|it| self.daemon.domains.introduced(it)).is_some();
        if self.behaviour().target_must_be_introduced && !is_introduced {
            return Err(ErrorCode::NoEntry);
        }
        let domain = self.daemon.domains.introduced(domid).ok_or(ErrorCode::NoEntry)?;
        domain.target = target;
        DONE
    }

    pub(super) fn get_domain_path(&mut self, payload: &[u8]) -> Result {
        let domid = args::only(payload).ok_or(INVALID)?;
        // Not a domain id yet: a lenient daemon does not check the range.
        let number = match self.behaviour().domain_ids {
            DomainIds::Prefix => i64::from(atoi(domid) as u32),
            DomainIds::Whole => whole_u16(domid).ok_or(INVALID)?.into(),
            DomainIds::Ocaml => first_number(domid),
        };
        text(format!("/local/domain/{number}"))
    }

    pub(super) fn is_domain_introduced(&mut self, payload: &[u8]) -> Result {
        let domid = self.domid_of_query(MessageType::IsDomainIntroduced, payload)?;
        let is_known = domid.is_some_and(|domid| {
            domid == DOMID_SELF || self.daemon.domains.introduced(domid).is_some()
        });
        Ok(Answer::Reply(Reply::Boolean(is_known)))
    }

    fn introduced(&mut self, domid: Option<DomId>) -> Result<&mut Domain> {
        let unknown = self.behaviour().unknown_domain_error;
        let domain = domid.and_then(|domid| self.daemon.domains.introduced(domid));
        domain.ok_or_else(|| unknown.clone())
    }

    /// Parses the argument of RESUME or IS_DOMAIN_INTRODUCED.
    fn domid_of_query(&self, msg_type: MessageType, payload: &[u8]) -> Result<Option<DomId>> {
        let argument = match self.behaviour().final_nul {
            FinalNul::Required => args::only(payload),
            FinalNul::Separates => args::parts(payload).next(),
        };
        self.domid_for(msg_type, argument.ok_or(INVALID)?)
    }

    /// Parses a domain id. Returns `None` for a number that no domain has.
    pub(super) fn domid_for(&self, msg_type: MessageType, text: &[u8]) -> Result<Option<DomId>> {
        let number = match self.behaviour().domain_ids {
            DomainIds::Prefix => i64::from(atoi(text)),
            DomainIds::Whole => whole_u16(text).ok_or(INVALID)?.into(),
            DomainIds::Ocaml if msg_type == MessageType::SetTarget => first_number(text),
            DomainIds::Ocaml => int_of_string(text).ok_or(INVALID)?,
        };
        Ok(u16::try_from(number).ok().map(DomId::new))
    }
}
