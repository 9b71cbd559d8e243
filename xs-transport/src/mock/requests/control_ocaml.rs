//! CONTROL as oxenstored answers it.

use xs_proto::{DomId, Reply};

use super::answer::{Answer, DONE, Result, text};
use super::args;
use super::call::Call;
use crate::mock::numbers::int_of_string;
use crate::mock::store::quota::Quota;

impl Call<'_> {
    /// Answers like oxenstored. A command that is unknown or malformed succeeds without effect.
    pub(super) fn control_ocaml(&mut self, payload: &[u8], has_reports: bool) -> Result {
        if !self.has_privilege() {
            return DONE;
        }
        let words: Vec<_> = args::parts(payload).collect();
        match &*words {
            [b"quota", domid, ..] => int_of_string(domid).map_or(DONE, |id| self.show_nodes(id)),
            [b"mfn", domid, ..] => int_of_string(domid).map_or(DONE, |id| self.show_gfn(id)),
            [b"watches", ..] => self.show_watches(),
            [b"compact", ..] if has_reports => raw("Compacted".to_owned()),
            [b"live-update", arguments @ ..] => live_update(arguments),
            _ => DONE,
        }
    }

    fn show_nodes(&self, number: i64) -> Result {
        let domid = domid(number);
        let nodes = domid.map_or(0, |domid| self.daemon.store.usage_of(domid).nodes);
        let max = self.daemon.domains.defaults[Quota::Nodes];
        // The number has 63 bits with a sign.
        let number = (number << 1) >> 1;
        text(match nodes {
            0 => format!("dom{number} quota: not set"),
            nodes => format!("dom{number} quota: {nodes}/{max}"),
        })
    }

    fn show_gfn(&mut self, number: i64) -> Result {
        let domain = domid(number).and_then(|domid| self.daemon.domains.introduced(domid));
        domain.map_or(DONE, |domain| text(domain.rings.gfn.to_string()))
    }

    fn show_watches(&self) -> Result {
        let mut out = String::new();
        for (conn, domid) in self.daemon.all_conns() {
            let name = match domid {
                DomId::DOM0 => format!("A{conn}"),
                guest => format!("D{guest}"),
            };
            for (path, token) in self.daemon.watches.of_conn(conn) {
                out += &format!("watch {name}: {path} {}\n", String::from_utf8_lossy(token));
            }
        }
        text(out)
    }
}

/// Answers `live-update`, for which there is no other daemon to start.
fn live_update(arguments: &[&[u8]]) -> Result {
    // The last word follows the last NUL.
    let arguments = arguments.split_last().map_or(arguments, |(_, arguments)| arguments);
    match arguments {
        [b"-a"] | [b"-c", _] => DONE,
        [b"-s", ..] => raw("BUSY".to_owned()),
        _ => {
            let words: Vec<_> = arguments.iter().map(|it| String::from_utf8_lossy(it)).collect();
            raw(format!("Unknown arguments: {}", words.join(",")))
        }
    }
}

/// Returns an answer that is a text without a final NUL.
fn raw(text: String) -> Result {
    Ok(Answer::Reply(Reply::Value(text.into_bytes().into())))
}

fn domid(number: i64) -> Option<DomId> {
    u16::try_from(number).ok().map(DomId::new)
}
