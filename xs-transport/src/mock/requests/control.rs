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
use crate::mock::flavour::behaviour::ControlCommands;
use crate::mock::store::quota::Quota;

/// Each command with its arguments, as `help` shows them.
const COMMANDS: &[(&str, &str)] = &[
    ("check", ""),
    ("log", "on|off"),
    ("logfile", "<file>"),
    ("memreport", "[<file>]"),
    ("print", "<string>"),
    ("quota", "[set <name> <val>|<domid>]"),
    ("quota-soft", "[set <name> <val>]"),
    ("help", ""),
];

impl Call<'_> {
    pub(super) fn control(&mut self, payload: &[u8]) -> Result {
        match self.behaviour().control {
            ControlCommands::Full => self.control_full(payload),
            ControlCommands::QuotaOnly => self.control_quota_only(payload),
        }
    }

    /// Answers like the C daemon of Xen 4.17.
    fn control_full(&mut self, payload: &[u8]) -> Result {
        let mut words = args::strings(payload);
        let command = words.next().ok_or(INVALID)?;
        let arguments: Vec<_> = words.collect();
        match (command, &*arguments) {
            (b"check", []) | (b"print" | b"logfile", [_]) | (b"log", [b"on" | b"off"]) => DONE,
            (b"help", []) => text(help()),
            (b"quota", []) => text(self.daemon.domains.defaults.show(Quota::HARD)),
            (b"quota", [b"set", name, value]) => self.control_set_quota(name, value, Quota::HARD),
            // A lone `set` is malformed. The daemon reads any other word as a number.
            (b"quota", [domid]) if *domid != b"set" => self.control_usage(domid),
            (b"quota-soft", []) => text(self.daemon.domains.defaults.show(Quota::SOFT)),
            (b"quota-soft", [b"set", name, value]) => {
                self.control_set_quota(name, value, Quota::SOFT)
            }
            // Includes `memreport`, because there is no file to write to.
            _ => Err(INVALID),
        }
    }

    /// Sets a quota for all present and future domains.
    fn control_set_quota(&mut self, name: &[u8], value: &[u8], known: &[Quota]) -> Result {
        let quota = known.iter().find(|quota| quota.control_name().as_bytes() == name);
        let value = u32::try_from(args::atoi(value)).ok().filter(|value| *value > 0);
        let (quota, value) = (*quota.ok_or(INVALID)?, value.ok_or(INVALID)?);
        self.daemon.domains.set_everywhere(quota, value);
        DONE
    }

    /// Reports what a domain uses.
    fn control_usage(&self, domid: &[u8]) -> Result {
        let domid = u16::try_from(args::atoi(domid)).map_err(|_| ErrorCode::NoEntry)?;
        let domid = DomId::new(domid);
        let domain = self.daemon.domains.get(domid).ok_or(ErrorCode::NoEntry)?;
        let used = self.daemon.store.usage_of(domid);
        // The daemon counts only the memory of sockets, which are dom0's.
        let own = |count: u32| if is_privileged(domid) { 0 } else { i64::from(count) };
        let mut out = format!("Domain {domid}:\n");
        for (name, used) in [
            ("nodes", used.nodes),
            ("watches", own(domain.watches)),
            ("transactions", own(domain.transactions)),
            ("outstanding", i64::from(domain.outstanding())),
            ("memory", self.daemon.bytes_of(domid)),
        ] {
            let _ = writeln!(out, "{name:<16}: {used:8}");
        }
        text(out)
    }

    /// Answers like oxenstored, of whose commands only one has a meaning here.
    fn control_quota_only(&self, payload: &[u8]) -> Result {
        let mut words = args::strings(payload);
        let (Some(b"quota"), Some(domid), true) =
            (words.next(), words.next(), self.has_privilege())
        else {
            return DONE;
        };
        let Some(domid) = args::domid(domid) else {
            return DONE;
        };
        let max = self.daemon.domains.defaults[Quota::Nodes];
        text(match self.daemon.store.usage_of(domid).nodes {
            0 => format!("dom{domid} quota: not set"),
            nodes => format!("dom{domid} quota: {nodes}/{max}"),
        })
    }
}

fn help() -> String {
    COMMANDS.iter().map(|(name, arguments)| format!("{name}\t{arguments}\n")).collect()
}
