//! CONTROL: the commands of `xenstore-control`.
//!
//! Commands that write to a log or a file of the daemon have no effect.
//! [`Xenstored::set_trace`](crate::mock::Xenstored::set_trace) shows what the daemon does.

use std::fmt::Write as _;

use xs_proto::{DomId, ErrorCode};

use super::answer::{DONE, INVALID, Result, text};
use super::args;
use super::call::Call;
use crate::mock::daemon::domains::is_privileged;
use crate::mock::flavour::behaviour::{Control, ControlTexts, QuotaTexts};
use crate::mock::numbers::atoi;
use crate::mock::store::quota::Quota;

impl Call<'_> {
    pub(super) fn control(&mut self, payload: &[u8]) -> Result {
        if self.daemon.has_host_commands && self.has_privilege() {
            if let Some([b"host", verb, domid]) = args::exactly(payload) {
                return self.control_host(verb, domid);
            }
        }
        match self.behaviour().control {
            Control::Full(texts) => self.control_full(texts, payload),
            Control::Ocaml { has_reports } => self.control_ocaml(payload, has_reports),
        }
    }

    /// Carries out a command that plays the hypervisor, which no genuine daemon has.
    fn control_host(&mut self, verb: &[u8], domid: &[u8]) -> Result {
        let domid = std::str::from_utf8(domid).ok().and_then(|domid| domid.parse().ok());
        let domid: DomId = domid.ok_or(INVALID)?;
        match verb {
            b"shutdown" => self.daemon.shut_down(domid),
            b"die" => self.daemon.destroy(domid),
            b"absent" => self.daemon.domains.set_absent(domid),
            b"create" => self.daemon.domains.set_present(domid),
            _ => return Err(INVALID),
        }
        DONE
    }

    /// Answers like the C daemon.
    fn control_full(&mut self, texts: &'static ControlTexts, payload: &[u8]) -> Result {
        let mut words = args::strings(payload);
        let command = words.next().ok_or(INVALID)?;
        let arguments: Vec<_> = words.collect();
        let is_newer = texts.has_switches_and_maxima;
        match (command, &*arguments) {
            (b"check", []) | (b"print" | b"logfile", [_]) | (b"log", [b"on" | b"off"]) => DONE,
            (b"help", []) => text(texts.help),
            (b"log", []) if is_newer => text(self.daemon.log_switches.to_string()),
            (b"log", [switch]) if is_newer => self.control_set_switch(switch),
            (b"live-update", arguments) => control_live_update(arguments),
            (b"quota", []) => self.control_show_quotas(texts.quotas),
            (b"quota", [b"set", name, value]) => self.control_set_quota(name, value, texts.quotas),
            (b"quota", [b"max"]) if is_newer => self.control_show_maxima(texts),
            (b"quota", [b"max", b"-r"]) if is_newer => {
                self.reset_maxima();
                self.control_show_maxima(texts)
            }
            // A lone `set` is malformed. The daemon reads any other word as a number.
            (b"quota", [domid]) if *domid != b"set" => self.control_usage(texts, domid),
            (b"quota-soft", []) => self.control_show_quotas(texts.soft_quotas),
            (b"quota-soft", [b"set", name, value]) => {
                self.control_set_quota(name, value, texts.soft_quotas)
            }
            // Includes `memreport`, because there is no file to write to.
            _ => Err(INVALID),
        }
    }

    /// Sets a switch of the log: `+` or `-`, and its name.
    fn control_set_switch(&mut self, switch: &[u8]) -> Result {
        let (is_on, name) = match switch {
            [b'+', name @ ..] => (true, name),
            [b'-', name @ ..] => (false, name),
            _ => return Err(INVALID),
        };
        if self.daemon.log_switches.set(name, is_on) { DONE } else { Err(INVALID) }
    }

    fn control_show_quotas(&self, quotas: QuotaTexts) -> Result {
        let mut out = "Quota settings:\n".to_owned();
        for (quota, name, about) in quotas {
            let _ = writeln!(out, "{name:<17}: {:8} {about}", self.daemon.domains.defaults[*quota]);
        }
        text(out)
    }

    /// Sets a quota of future domains and, with some daemons, of the present ones.
    fn control_set_quota(&mut self, name: &[u8], value: &[u8], known: QuotaTexts) -> Result {
        let quota = known.iter().find(|(_, known, _)| known.as_bytes() == name);
        let value = u32::try_from(atoi(value)).ok().filter(|value| *value > 0);
        let ((quota, ..), value) = (quota.ok_or(INVALID)?, value.ok_or(INVALID)?);
        if self.behaviour().control_sets_quotas_of_present_domains {
            self.daemon.domains.set_everywhere(*quota, value);
        } else {
            self.daemon.domains.defaults[*quota] = value;
        }
        DONE
    }

    /// Reports what a domain uses.
    fn control_usage(&self, texts: &ControlTexts, domid: &[u8]) -> Result {
        let domid = u16::try_from(atoi(domid)).map_err(|_| ErrorCode::NoEntry)?;
        let domid = DomId::new(domid);
        let domain = self.daemon.domains.get(domid).ok_or(ErrorCode::NoEntry)?;
        let mut out = format!("Domain {domid}:\n");
        if texts.has_switches_and_maxima {
            for (quota, name, _) in texts.quotas {
                let (used, max) = (self.usage(domid, *quota), domain.maxima.get(*quota));
                let _ = writeln!(out, "{name:<17}: {used:8} (max {max:8})");
            }
            return text(out);
        }
        for (name, quota) in [
            ("nodes", Quota::Nodes),
            ("watches", Quota::Watches),
            ("transactions", Quota::Transactions),
            ("outstanding", Quota::Outstanding),
            ("memory", Quota::Memory),
        ] {
            // The watches and transactions of dom0's sockets are counted apart from the domain.
            let is_apart = matches!(quota, Quota::Watches | Quota::Transactions);
            let is_counted = !(is_apart && is_privileged(domid));
            let used = if is_counted { self.usage(domid, quota) } else { 0 };
            let _ = writeln!(out, "{name:<16}: {used:8}");
        }
        text(out)
    }

    /// Reports the highest counts of all guests.
    fn control_show_maxima(&self, texts: &ControlTexts) -> Result {
        let mut out = "Max. seen accounting values:\n".to_owned();
        for (quota, name, _) in texts.quotas {
            let _ = writeln!(out, "{name:<17}: {:8}", self.daemon.domains.maxima.get(*quota));
        }
        text(out)
    }

    fn reset_maxima(&self) {
        for quota in Quota::ALL {
            self.daemon.domains.maxima.reset(quota, 0);
            for (domid, domain) in self.daemon.domains.iter() {
                domain.maxima.reset(quota, self.usage(domid, quota));
            }
        }
    }

    /// Returns how much of a quota a domain uses, or 0 if requests alone use it.
    fn usage(&self, domid: DomId, quota: Quota) -> i64 {
        let Some(domain) = self.daemon.domains.get(domid) else {
            return 0;
        };
        match quota {
            Quota::Nodes => self.daemon.store.usage_of(domid).nodes,
            Quota::Watches => domain.watches.into(),
            Quota::Transactions => domain.transactions.into(),
            Quota::Memory => self.daemon.bytes_of(domid),
            // The present request is not outstanding any more when its reply is sent.
            Quota::Outstanding => domain.outstanding().into(),
            _ => 0,
        }
    }
}

/// Answers `live-update`, for which there is no other daemon to start.
fn control_live_update(arguments: &[&[u8]]) -> Result {
    match arguments {
        [b"-a"] => text("No live-update session active."),
        [b"-c", _] | [b"-s", ..] => text("Not in live-update session."),
        [b"-f", _] => text("File not accessible."),
        _ => Err(INVALID),
    }
}
