//! Tests of the daemon's rules, over the wire.

use super::{MessageType as Ty, *};
use crate::transport::{Sent, Transport, Wait};

mod ceilings;
mod domains;
mod faults;
mod permissions;
mod quotas;
mod requests;
mod security;
mod slow;
mod transactions;
mod watches;

const NONE: u32 = 0;

/// A client that sends one request at a time and reads all output.
struct Client {
    pipe: Pipe,
    /// The events read so far, as `path|token|`, and `reply` in the place of each reply.
    events: Vec<String>,
}

impl Client {
    fn new(xenstored: &Xenstored, domid: u16) -> Self {
        Client { pipe: xenstored.connect(DomId::new(domid)), events: Vec::new() }
    }

    /// Sends a request. Returns the payload of the reply, or `!` and the name of the error. Each
    /// `|` stands for a NUL.
    fn call(&mut self, ty: impl Into<Type>, tx: u32, payload: impl AsRef<[u8]>) -> String {
        let payload: Vec<u8> = payload.as_ref().iter().map(nul).collect();
        let len = payload.len() as u32;
        let header = Header { msg_type: ty.into().0, req_id: ReqId(7), tx_id: TxId(tx), len };
        let message = [&header.encode()[..], &payload].concat();
        assert_eq!(self.pipe.send(&message).unwrap(), Sent::Bytes(message.len()));
        let mut reply = None;
        for (header, payload) in self.read() {
            if header.msg_type == Ty::WatchEvent as u32 {
                self.events.push(text(&payload));
                continue;
            }
            assert_eq!((header.req_id, header.tx_id), (ReqId(7), TxId(tx)));
            let is_error = header.msg_type == Ty::Error as u32;
            reply = Some(if is_error { format!("!{}", text(&payload)) } else { text(&payload) });
            self.events.push("reply".to_owned());
        }
        reply.expect("a reply")
    }

    fn read(&self) -> Vec<(Header, Vec<u8>)> {
        let mut bytes = Vec::new();
        let mut buf = [0; 1000];
        while let Ok(n @ 1..) = self.pipe.recv(&mut buf, Wait::No) {
            bytes.extend_from_slice(&buf[..n]);
        }
        let mut messages = Vec::new();
        let mut rest = &*bytes;
        while let Some((header, tail)) = rest.split_first_chunk() {
            let header = Header::decode(header);
            let (payload, tail) = tail.split_at(header.len as usize);
            messages.push((header, payload.to_vec()));
            rest = tail;
        }
        messages
    }

    /// Returns the events since the last call, including the events of other clients' requests.
    fn events(&mut self) -> Vec<String> {
        let fresh: Vec<_> = self.read().into_iter().map(|(_, payload)| text(&payload)).collect();
        let mut events = std::mem::take(&mut self.events);
        events.retain(|event| event != "reply");
        events.extend(fresh);
        events
    }

    fn read_value(&mut self, path: &str) -> String {
        self.call(Ty::Read, NONE, format!("{path}|"))
    }

    fn write(&mut self, path: &str, value: &str) -> String {
        self.call(Ty::Write, NONE, format!("{path}|{value}"))
    }

    fn one(&mut self, ty: Ty, argument: &str) -> String {
        self.call(ty, NONE, format!("{argument}|"))
    }

    fn watch(&mut self, path: &str, token: &str) -> String {
        self.call(Ty::Watch, NONE, format!("{path}|{token}|"))
    }

    fn start(&mut self) -> u32 {
        let id = self.call(Ty::TransactionStart, NONE, "|");
        id.trim_end_matches('|').parse().expect("a transaction")
    }

    fn end(&mut self, tx: u32, commit: bool) -> String {
        self.call(Ty::TransactionEnd, tx, if commit { "T|" } else { "F|" })
    }
}

struct Type(u32);

impl From<Ty> for Type {
    fn from(ty: Ty) -> Self {
        Type(ty as u32)
    }
}

impl From<u32> for Type {
    fn from(ty: u32) -> Self {
        Type(ty)
    }
}

fn nul(byte: &u8) -> u8 {
    if *byte == b'|' { 0 } else { *byte }
}

/// Returns the payload as text, with `|` in place of each NUL.
fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).replace('\0', "|")
}

fn is_oxenstored(flavour: Flavour) -> bool {
    flavour.short_name().starts_with("ox")
}

fn guest() -> (Xenstored, Client, Client) {
    guest_of(Flavour::default())
}

/// Returns a xenstored with dom0 and a guest that owns one node.
fn guest_of(flavour: Flavour) -> (Xenstored, Client, Client) {
    let xenstored = Xenstored::with_flavour(flavour);
    let mut dom0 = Client::new(&xenstored, 0);
    dom0.write("/local/domain/5/data", "");
    dom0.call(Ty::SetPerms, NONE, "/local/domain/5/data|n5|");
    let guest = Client::new(&xenstored, 5);
    (xenstored, dom0, guest)
}
