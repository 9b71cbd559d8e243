//! GET_FEATURE, SET_FEATURE, GET_QUOTA and SET_QUOTA.

use xs_proto::{ErrorCode, Features, MessageType, Reply};

use super::answer::{Answer, DONE, INVALID, Result, text};
use super::args;
use super::call::Call;
use crate::mock::daemon::domains::Domain;
use crate::mock::flavour::behaviour::FEATURES;
use crate::mock::numbers::atoi;
use crate::mock::store::quota::Quota;

impl Call<'_> {
    pub(super) fn get_feature(&mut self, payload: &[u8]) -> Result {
        let features = match args::strings(payload).count() {
            0 => FEATURES,
            _ if !self.has_privilege() => return Err(ErrorCode::Access),
            1 => {
                let [domid] = args::at_least(payload).ok_or(INVALID)?;
                self.domain(domid)?.features
            }
            _ => return Err(INVALID),
        };
        Ok(Answer::Reply(Reply::Features(features)))
    }

    pub(super) fn set_feature(&mut self, payload: &[u8]) -> Result {
        let [domid, features] = args::exactly(payload).ok_or(INVALID)?;
        let features = Features::from_bits(atoi(features) as u32);
        let domain = self.domain(domid)?;
        if domain.introduced {
            return Err(ErrorCode::Busy);
        }
        if !FEATURES.contains(features) {
            return Err(INVALID);
        }
        domain.features = features;
        DONE
    }

    pub(super) fn get_quota(&mut self, payload: &[u8]) -> Result {
        let (domid, name) = match args::strings(payload).count() {
            0 => return text(Quota::names()),
            1 => (None, args::at_least::<1>(payload).map(|[name]| name)),
            2 => {
                let [domid, name] = args::at_least(payload).ok_or(INVALID)?;
                (Some(domid), Some(name))
            }
            _ => return Err(INVALID),
        };
        let value = *self.quota(domid, name.ok_or(INVALID)?)?;
        text(value.to_string())
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
        let value = atoi(value) as u32;
        let quota = self.quota(domid, name)?;
        if value == u32::MAX {
            return Err(INVALID);
        }
        *quota = value;
        DONE
    }

    /// Returns a quota of a domain, or the default of new domains.
    fn quota(&mut self, domid: Option<&[u8]>, name: &[u8]) -> Result<&mut u32> {
        let quota = Quota::by_name(name);
        let quotas = match domid {
            None => &mut self.daemon.domains.defaults,
            Some(domid) => &mut self.domain(domid)?.quotas,
        };
        Ok(&mut quotas[quota.ok_or(INVALID)?])
    }

    fn domain(&mut self, domid: &[u8]) -> Result<&mut Domain> {
        let domid = self.domid_for(MessageType::GetFeature, domid)?.ok_or(ErrorCode::NoEntry)?;
        if self.daemon.domains.get(domid).is_none() && !self.daemon.domains.exists(domid) {
            return Err(ErrorCode::NoEntry);
        }
        let generation = self.daemon.store.generation();
        Ok(self.daemon.domains.get_or_add(domid, generation))
    }
}
