//! CONTROL: the commands of `xenstore-control`, answered as the C daemon of Xen 4.17 answers.
//!
//! What would go to a log or a file of the daemon goes nowhere: there is
//! [`Xenstored::set_trace`](super::Xenstored::set_trace) instead.

use std::fmt::Write as _;

use xs_proto::{DomId, ErrorCode, Reply};

use super::args;
use super::daemon::{INVALID, is_privileged};
use super::quota::Quota;
use super::request::{Answer, Call, DONE, Result};

/// Name and arguments, as `help` shows them.
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
        let mut words = args::strings(payload);
        let command = words.next().ok_or(INVALID)?;
        let arguments: Vec<_> = words.collect();
        match (command, &*arguments) {
            (b"check", []) | (b"print" | b"logfile", [_]) | (b"log", [b"on" | b"off"]) => DONE,
            (b"help", []) => text(help()),
            (b"quota", []) => text(self.daemon.domains.defaults.show(Quota::HARD)),
            (b"quota", [b"set", name, value]) => self.control_set_quota(name, value, Quota::HARD),
            // Nothing else begins like this, and a word that is no number counts as 0.
            (b"quota", [domid]) if *domid != b"set" => self.control_usage(domid),
            (b"quota-soft", []) => text(self.daemon.domains.defaults.show(Quota::SOFT)),
            (b"quota-soft", [b"set", name, value]) => {
                self.control_set_quota(name, value, Quota::SOFT)
            }
            // MEMREPORT included: there is no file that could be written.
            _ => Err(INVALID),
        }
    }

    /// For all domains, those that are there already as well.
    fn control_set_quota(&mut self, name: &[u8], value: &[u8], known: &[Quota]) -> Result {
        let quota = known.iter().find(|quota| quota.control_name().as_bytes() == name);
        let value = u32::try_from(args::atoi(value)).ok().filter(|value| *value > 0);
        let (quota, value) = (*quota.ok_or(INVALID)?, value.ok_or(INVALID)?);
        self.daemon.domains.set_everywhere(quota, value);
        DONE
    }

    /// What a domain uses up.
    fn control_usage(&self, domid: &[u8]) -> Result {
        let domid = u16::try_from(args::atoi(domid)).map_err(|_| ErrorCode::NoEntry)?;
        let domid = DomId::new(domid);
        let domain = self.daemon.domains.get(domid).ok_or(ErrorCode::NoEntry)?;
        let used = self.daemon.store.used_by(domid);
        // What sockets have is no domain's, but for its memory.
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
}

fn help() -> String {
    COMMANDS.iter().map(|(name, arguments)| format!("{name}\t{arguments}\n")).collect()
}

fn text(text: String) -> Result {
    Ok(Answer::Reply(Reply::Text(text.into())))
}
