//! Requests about domains: those that a toolstack makes.

use xs_proto::{DomId, ErrorCode, Reply};

use super::args;
use super::daemon::{FEATURES, INVALID, is_privileged};
use super::domains::DOMID_SELF;
use super::quota::Quota;
use super::request::{Answer, Call, DONE, Result};

impl Call<'_> {
    pub(super) fn introduce(&mut self, payload: &[u8]) -> Result {
        let [domid, _gfn, port] = args::at_least(payload).ok_or(INVALID)?;
        let domid = self.domid_arg(domid)?;
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
        let domid = self.guest(payload)?;
        self.daemon.release(domid);
        DONE
    }

    pub(super) fn resume(&mut self, payload: &[u8]) -> Result {
        let domid = self.guest(payload)?;
        if let Some(domain) = self.daemon.domains.get_mut(domid) {
            domain.shut_down = false;
        }
        DONE
    }

    pub(super) fn set_target(&mut self, payload: &[u8]) -> Result {
        let [domid, target] = args::at_least(payload).ok_or(INVALID)?;
        let (domid, target) = (self.domid_arg(domid)?, self.domid_arg(target)?);
        // oxenstored takes any number for a target.
        if !self.daemon.flavour.is_ocaml() && self.daemon.domains.introduced(target).is_none() {
            return Err(ErrorCode::NoEntry);
        }
        let domain = self.daemon.domains.introduced(domid).ok_or(ErrorCode::NoEntry)?;
        domain.target = Some(target);
        DONE
    }

    pub(super) fn get_domain_path(&mut self, payload: &[u8]) -> Result {
        let text = args::only(payload).ok_or(INVALID)?;
        // Other daemons than the newest make some number of anything.
        let domid = if self.daemon.flavour.is_modern() {
            u32::from(args::domid(text).ok_or(INVALID)?.get())
        } else {
            args::atoi(text) as u32
        };
        Ok(Answer::Reply(Reply::Text(format!("/local/domain/{domid}").into())))
    }

    pub(super) fn is_domain_introduced(&mut self, payload: &[u8]) -> Result {
        let domid = self.domid_arg(args::only(payload).ok_or(INVALID)?)?;
        let is_known = domid == DOMID_SELF || self.daemon.domains.introduced(domid).is_some();
        Ok(Answer::Reply(Reply::Boolean(is_known)))
    }

    /// The introduced domain that a request is about; not dom0.
    fn guest(&mut self, payload: &[u8]) -> Result<DomId> {
        let domid = self.domid_arg(args::only(payload).ok_or(INVALID)?)?;
        if domid == DomId::DOM0 {
            return Err(INVALID);
        }
        let unknown = if self.daemon.flavour.is_ocaml() { INVALID } else { ErrorCode::NoEntry };
        self.daemon.domains.introduced(domid).map(|_| domid).ok_or(unknown)
    }

    fn domid_arg(&self, text: &[u8]) -> Result<DomId> {
        if self.daemon.flavour.is_modern() {
            return args::domid(text).ok_or(INVALID);
        }
        u16::try_from(args::atoi(text)).map(DomId::new).map_err(|_| INVALID)
    }

    pub(super) fn get_feature(&mut self, payload: &[u8]) -> Result {
        let features = match args::strings(payload).count() {
            0 => FEATURES,
            1 => {
                let [domid] = args::at_least(payload).ok_or(INVALID)?;
                let domid = args::domid(domid).ok_or(INVALID)?;
                let generation = self.daemon.store.generation();
                self.daemon.domains.get_or_add(domid, generation, FEATURES).features
            }
            _ => return Err(INVALID),
        };
        Ok(Answer::Reply(Reply::Features(features)))
    }

    pub(super) fn set_feature(&mut self, payload: &[u8]) -> Result {
        let [domid, features] = args::exactly(payload).ok_or(INVALID)?;
        let domid = args::domid(domid).ok_or(INVALID)?;
        let features = args::atoi(features) as u32;
        let generation = self.daemon.store.generation();
        let domain = self.daemon.domains.get_or_add(domid, generation, FEATURES);
        if domain.introduced {
            return Err(ErrorCode::Busy);
        }
        if features & !FEATURES != 0 {
            return Err(INVALID);
        }
        domain.features = features;
        DONE
    }

    pub(super) fn get_quota(&mut self, payload: &[u8]) -> Result {
        let (domid, name) = match args::strings(payload).count() {
            0 => return Ok(Answer::Reply(Reply::Text(Quota::names().into()))),
            1 => (None, args::at_least::<1>(payload).map(|[name]| name)),
            2 => {
                let [domid, name] = args::at_least(payload).ok_or(INVALID)?;
                (Some(domid), Some(name))
            }
            _ => return Err(INVALID),
        };
        let value = *self.quota(domid, name.ok_or(INVALID)?)?;
        Ok(Answer::Reply(Reply::Text(value.to_string().into())))
    }

    pub(super) fn set_quota(&mut self, payload: &[u8]) -> Result {
        let (domid, [name, value]) = match args::strings(payload).count() {
            2 => (None, args::at_least(payload).ok_or(INVALID)?),
            3 => {
                let [domid, name, value] = args::at_least(payload).ok_or(INVALID)?;
                (Some(domid), [name, value])
            }
            _ => return Err(INVALID),
        };
        let value = args::atoi(value) as u32;
        let quota = self.quota(domid, name)?;
        if value == u32::MAX {
            return Err(INVALID);
        }
        *quota = value;
        DONE
    }

    fn quota(&mut self, domid: Option<&[u8]>, name: &[u8]) -> Result<&mut u32> {
        let quota = Quota::by_name(name);
        let quotas = match domid {
            None => &mut self.daemon.domains.defaults,
            Some(domid) => {
                let domid = args::domid(domid).ok_or(INVALID)?;
                let generation = self.daemon.store.generation();
                &mut self.daemon.domains.get_or_add(domid, generation, FEATURES).quotas
            }
        };
        Ok(&mut quotas[quota.ok_or(INVALID)?])
    }
}
