//! A guest that attacks xenstored, until it is destroyed.

use alloc::format;
use core::sync::atomic::Ordering;

use xs_proto::ring::{Field, Page, Ring, RingPage};
use xs_proto::{Header, MessageType, Path, Reply, ReqId, Request, TxId};

use crate::print_line;
use crate::store::{Result, Store};
use crate::xen::{self, Port};

/// Attacks xenstored in the way of this name. Does not return without an error.
pub fn attack(store: &mut Store, name: &str) -> Result<()> {
    print_line!("attack: {name}");
    let (page, port) = Store::find()?;
    let random = Random(xen::nanoseconds() | 1);
    match name {
        "spin" => spin(),
        "indices" => indices(page, port, random),
        "headers" => headers(page, port, random),
        "connection" => connection(page, port, random),
        "deaf" => deaf(page, port),
        "flood" => flood(store),
        "watches" => watches(store),
        _ => Err(format!("there is no attack {name}").into()),
    }
}

/// Takes processor time only: what the other attacks are compared with.
fn spin() -> Result<()> {
    loop {
        core::hint::spin_loop();
    }
}

/// Random indices over random bytes.
fn indices(page: &RingPage, port: Port, mut random: Random) -> Result<()> {
    let ends = [Field::Producer, Field::Consumer];
    loop {
        for ring in [Ring::Requests, Ring::Replies] {
            page.write(ring, random.below(1024), &random.next().to_ne_bytes());
            page.store(ends[random.below(2)](ring), random.next() as u32, Ordering::SeqCst);
        }
        if random.below(4) == 0 {
            page.store(Field::Error, 0, Ordering::SeqCst);
            page.store(Field::Connection, 1, Ordering::SeqCst);
        }
        port.notify();
    }
}

/// Headers with random types and lengths. Asks for a new connection after each.
fn headers(page: &RingPage, port: Port, mut random: Random) -> Result<()> {
    loop {
        let len = [0, 1, 4096, 4097, 65535, u32::MAX][random.below(6)];
        let (msg_type, id) = (random.below(40) as u32, random.next() as u32);
        let mut header = [0; 16];
        for (at, value) in [msg_type, id, random.below(3) as u32, len].into_iter().enumerate() {
            header[4 * at..][..4].copy_from_slice(&value.to_le_bytes());
        }
        let at = page.load(Field::Producer(Ring::Requests), Ordering::SeqCst);
        for (offset, byte) in header.into_iter().enumerate() {
            page.write(Ring::Requests, (at as usize + offset) % 1024, &[byte]);
        }
        page.store(Field::Producer(Ring::Requests), at.wrapping_add(16), Ordering::SeqCst);
        let replies = page.load(Field::Producer(Ring::Replies), Ordering::SeqCst);
        page.store(Field::Consumer(Ring::Replies), replies, Ordering::SeqCst);
        if random.below(8) == 0 {
            page.store(Field::Connection, 1, Ordering::SeqCst);
        }
        port.notify();
    }
}

/// Values in the connection field that mean nothing.
fn connection(page: &RingPage, port: Port, mut random: Random) -> Result<()> {
    loop {
        page.store(Field::Connection, random.next() as u32 >> random.below(32), Ordering::SeqCst);
        port.notify();
    }
}

/// Requests whose replies are never read.
fn deaf(page: &RingPage, port: Port) -> Result<()> {
    let path = b"/\0";
    loop {
        let produced = page.load(Field::Producer(Ring::Requests), Ordering::SeqCst);
        let consumed = page.load(Field::Consumer(Ring::Requests), Ordering::SeqCst);
        let header = Header {
            msg_type: MessageType::Directory as u32,
            req_id: ReqId(1),
            tx_id: TxId::NONE,
            len: path.len() as u32,
        };
        if produced.wrapping_sub(consumed) + 18 <= 1024 {
            let message = header.encode().into_iter().chain(*path);
            for (offset, byte) in message.enumerate() {
                page.write(Ring::Requests, (produced as usize + offset) % 1024, &[byte]);
            }
            page.store(
                Field::Producer(Ring::Requests),
                produced.wrapping_add(18),
                Ordering::SeqCst,
            );
        }
        port.notify();
    }
}

/// As many requests at a time as the connection takes.
fn flood(store: &mut Store) -> Result<()> {
    let path = Path::new("data/flood")?;
    let (mut submitted, mut answered) = (0, 0);
    loop {
        while submitted - answered < 4000 {
            let request = match submitted % 3 {
                0 => Request::Write { path, value: b"flood" },
                1 => Request::Read(path),
                _ => Request::Rm(path),
            };
            store.submit(TxId::NONE, &request)?;
            submitted += 1;
        }
        store.next_reply()?;
        answered += 1;
    }
}

/// 1,000 watches and transactions, of which the quotas allow some, and then changes that fire the
/// watches.
fn watches(store: &mut Store) -> Result<()> {
    let path = Path::new("data/watched")?;
    let (mut set, mut started) = (0, 0);
    for number in 0..1000 {
        let token = format!("token-{number}");
        let request = Request::Watch { path, token: token.as_bytes(), depth: None };
        set += u32::from(is_done(&store.call(&request)?));
        started += u32::from(is_done(&store.call(&Request::TransactionStart)?));
    }
    print_line!("{set} of 1000 watches and {started} of 1000 transactions");
    store.write("data/held", format!("{set} {started}").as_bytes())?;
    loop {
        store.write("data/watched", b"")?;
        while store.take_event().is_some() {}
    }
}

fn is_done(reply: &Reply<'_>) -> bool {
    !matches!(reply, Reply::Error(_))
}

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }
}
