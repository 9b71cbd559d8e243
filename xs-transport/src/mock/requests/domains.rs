//! Requests about domains, which a toolstack makes.

use xs_proto::{DomId, ErrorCode, MessageType, Reply};

use super::answer::{Answer, DONE, INVALID, Result, text};
use super::args;
use super::call::Call;
use crate::mock::daemon::domains::{DOMID_SELF, Domain, is_privileged};
use crate::mock::flavour::behaviour::Release;

impl Call<'_> {
    pub(super) fn introduce(&mut self, payload: &[u8]) -> Result {
        let [domid, _gfn, port] = args::at_least(payload).ok_or(INVALID)?;
        let domid = self.domid_for(MessageType::Introduce, domid)?;
        if args::atoi(port) == 0 {
            return Err(INVALID);
        }
        if !self.daemon.introduce(domid) && !is_privileged(domid) {
            for conn in self.daemon.conns_of(domid) {
                self.daemon.reset(conn);
            }
        }
        DONE
    }

    pub(super) fn release(&mut self, payload: &[u8]) -> Result {
        let text = args::only(payload).ok_or(INVALID)?;
        let domid = self.domid_for(MessageType::Release, text)?;
        match self.behaviour().release {
            Release::RemovesNodes => {
                if domid == DomId::DOM0 {
                    return Err(INVALID);
                }
                self.introduced(domid)?;
                let owns_special = self.daemon.store.owns_special_nodes(domid);
                if owns_special && !self.behaviour().releases_owners_of_special_nodes {
                    return Err(INVALID);
                }
                self.daemon.release(domid);
                DONE
            }
            Release::RemovesNodesAndPermissions => {
                if self.daemon.release(domid) {
                    return DONE;
                }
                self.daemon.remove_traces_of(domid);
                Err(self.behaviour().unknown_domain_error.clone())
            }
        }
    }

    pub(super) fn resume(&mut self, payload: &[u8]) -> Result {
        let domid = self.domid_of_query(MessageType::Resume, payload)?;
        if domid == DomId::DOM0 && !self.behaviour().resumes_dom0 {
            return Err(INVALID);
        }
        self.introduced(domid)?.shut_down = false;
        DONE
    }

    pub(super) fn set_target(&mut self, payload: &[u8]) -> Result {
        let arguments = if self.behaviour().set_target_ignores_extra_arguments {
            args::at_least(payload)
        } else {
            args::exactly(payload)
        };
        let [domid, target] = arguments.ok_or(INVALID)?;
        let domid = self.domid_for(MessageType::SetTarget, domid)?;
        let target = self.domid_for(MessageType::SetTarget, target)?;
        let is_introduced = self.daemon.domains.introduced(target).is_some();
        if self.behaviour().target_must_be_introduced && !is_introduced {
            return Err(ErrorCode::NoEntry);
        }
        let domain = self.daemon.domains.introduced(domid).ok_or(ErrorCode::NoEntry)?;
        domain.target = Some(target);
        DONE
    }

    pub(super) fn get_domain_path(&mut self, payload: &[u8]) -> Result {
        let domid = args::only(payload).ok_or(INVALID)?;
        // A lenient daemon does not check the range either.
        let domid = if self.is_strict_about_domids(MessageType::GetDomainPath) {
            u32::from(args::domid(domid).ok_or(INVALID)?.get())
        } else {
            args::atoi(domid) as u32
        };
        text(format!("/local/domain/{domid}"))
    }

    pub(super) fn is_domain_introduced(&mut self, payload: &[u8]) -> Result {
        let domid = self.domid_of_query(MessageType::IsDomainIntroduced, payload)?;
        let is_known = domid == DOMID_SELF || self.daemon.domains.introduced(domid).is_some();
        Ok(Answer::Reply(Reply::Boolean(is_known)))
    }

    fn introduced(&mut self, domid: DomId) -> Result<&mut Domain> {
        let unknown = self.behaviour().unknown_domain_error;
        self.daemon.domains.introduced(domid).ok_or_else(|| unknown.clone())
    }

    /// Parses the only argument of RESUME or IS_DOMAIN_INTRODUCED.
    fn domid_of_query(&self, msg_type: MessageType, payload: &[u8]) -> Result<DomId> {
        let argument = if self.behaviour().domain_queries_ignore_extra_arguments {
            args::strings(payload).next()
        } else {
            args::only(payload)
        };
        self.domid_for(msg_type, argument.ok_or(INVALID)?)
    }

    fn domid_for(&self, msg_type: MessageType, text: &[u8]) -> Result<DomId> {
        if self.is_strict_about_domids(msg_type) {
            return args::domid(text).ok_or(INVALID);
        }
        u16::try_from(args::atoi(text)).map(DomId::new).map_err(|_| INVALID)
    }

    fn is_strict_about_domids(&self, msg_type: MessageType) -> bool {
        self.behaviour().strict_domain_ids.contains(&msg_type)
    }
}
