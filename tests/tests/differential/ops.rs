//! Random requests, and their text form.

use std::fmt;
use std::str::FromStr;

use xs_proto::MessageType as Ty;
use xs_transport::mock::Flavour;

/// The names of the connections.
pub(crate) const CONNECTIONS: [&str; 4] = ["dom0", "other", "dom5", "dom7"];

/// One request of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    /// The index into [`CONNECTIONS`].
    pub(crate) conn: usize,
    pub(crate) ty: u32,
    pub(crate) tx: Tx,
    /// The slot for the id that TRANSACTION_START returns.
    pub(crate) into: usize,
    pub(crate) payload: Vec<u8>,
}

/// The transaction of a request. Ids differ between daemons, so that requests name a slot instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tx {
    None,
    Slot(usize),
    Bogus,
}

pub(crate) const SLOTS: usize = 3;

/// Not a request: the domain in the payload dies.
pub(crate) const DIES: u32 = 1000;
/// Not a request: the domain in the payload shuts down.
pub(crate) const SHUTS_DOWN: u32 = 1001;

/// A domain without a connection, which is introduced and released.
pub(crate) const TRANSIENT: u16 = 9;

/// A pseudo-random number generator (splitmix64).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Returns a random request.
pub(crate) fn random(rng: &mut Rng, flavour: Flavour) -> Op {
    let conn = rng.below(CONNECTIONS.len());
    let ty = rng.pick(&[
        Ty::Read,
        Ty::Read,
        Ty::Directory,
        Ty::Directory,
        Ty::GetPerms,
        Ty::DirectoryPart,
        Ty::Write,
        Ty::Write,
        Ty::Write,
        Ty::Write,
        Ty::Mkdir,
        Ty::Mkdir,
        Ty::Rm,
        Ty::Rm,
        Ty::SetPerms,
        Ty::SetPerms,
        Ty::Watch,
        Ty::Watch,
        Ty::Watch,
        Ty::Watch,
        Ty::Unwatch,
        Ty::TransactionStart,
        Ty::TransactionStart,
        Ty::TransactionStart,
        Ty::TransactionEnd,
        Ty::TransactionEnd,
        Ty::ResetWatches,
        Ty::GetDomainPath,
        Ty::IsDomainIntroduced,
        Ty::Resume,
        Ty::SetTarget,
        Ty::Control,
        Ty::Introduce,
        Ty::Release,
        Ty::GetFeature,
        Ty::SetFeature,
        Ty::GetQuota,
        Ty::SetQuota,
    ]);
    let rare = matches!(
        ty,
        Ty::ResetWatches
            | Ty::GetDomainPath
            | Ty::IsDomainIntroduced
            | Ty::Resume
            | Ty::SetTarget
            | Ty::Control
            | Ty::Introduce
            | Ty::Release
            | Ty::GetFeature
            | Ty::SetFeature
            | Ty::GetQuota
            | Ty::SetQuota
    );
    let ty = if rare && !rng.one_in(3) { Ty::Write } else { ty };
    let mut payload = payload(rng, ty);
    let mut number = ty as u32;
    // An INTRODUCE that succeeds would cut a guest off.
    if ty != Ty::Introduce && rng.one_in(40) {
        mangle(rng, ty, &mut payload);
    }
    if rng.one_in(100) {
        number = rng.pick(&[15, 16, 20, 27, 99, 65535]);
    }
    let tx = match ty {
        Ty::TransactionStart if rng.one_in(20) => Tx::Slot(rng.below(SLOTS)),
        Ty::TransactionStart => Tx::None,
        Ty::TransactionEnd if !rng.one_in(20) => Tx::Slot(rng.below(SLOTS)),
        _ if rng.one_in(50) => Tx::Bogus,
        _ if rng.one_in(4) => Tx::Slot(rng.below(SLOTS)),
        _ => Tx::None,
    };
    let op = match rng.below(120) {
        0 => transient(rng.pick(&[DIES, SHUTS_DOWN])),
        1 => Op { conn: rng.below(2), ty: Ty::Introduce as u32, ..transient(0) },
        2 => {
            let payload = format!("{TRANSIENT}\0").into_bytes();
            Op { conn: rng.below(2), ty: Ty::Release as u32, payload, ..transient(0) }
        }
        3 => {
            let words = rng.pick(CONTROL).replace(' ', "\0") + "\0";
            Op { ty: Ty::Control as u32, payload: words.into_bytes(), ..transient(0) }
        }
        _ => Op { conn, ty: number, tx, into: rng.below(SLOTS), payload },
    };
    if crate::known::is_avoided(flavour, &op) { random(rng, flavour) } else { op }
}

/// Returns an operation on the transient domain.
fn transient(ty: u32) -> Op {
    // The arguments of INTRODUCE. Other operations use the first one.
    let payload = format!("{TRANSIENT}\x001\x001\0").into_bytes();
    Op { conn: 0, ty, tx: Tx::None, into: 0, payload }
}

/// Returns requests that exceed one of a guest's quotas.
pub(crate) fn quota_round(rng: &mut Rng) -> Vec<Op> {
    let conn = 2 + rng.below(2);
    let tx = if rng.one_in(2) { Tx::Slot(0) } else { Tx::None };
    let op = |ty: Ty, tx, into, payload: String| {
        let payload = payload.replace('|', "\0").into_bytes();
        Op { conn, ty: ty as u32, tx, into, payload }
    };
    let start = op(Ty::TransactionStart, Tx::None, 0, "|".to_owned());
    let numbered = |count, make: &dyn Fn(usize) -> Op| (0..count).map(make).collect::<Vec<_>>();
    let mut ops = vec![start];
    ops.extend(match rng.below(5) {
        0 => numbered(135, &|at| op(Ty::Watch, Tx::None, 0, format!("data|{at}|"))),
        1 => numbered(14, &|_| op(Ty::TransactionStart, Tx::None, 1, "|".to_owned())),
        2 => numbered(560, &|at| op(Ty::Write, tx, 0, format!("data/{at}|"))),
        3 => numbered(1010, &|at| op(Ty::Mkdir, tx, 0, format!("data/{}/{at}|", at / 300))),
        _ => numbered(1100, &|at| op(Ty::Read, tx, 0, format!("data/{at}|"))),
    });
    ops.push(op(Ty::TransactionEnd, Tx::Slot(0), 0, "T|".to_owned()));
    ops
}

fn payload(rng: &mut Rng, ty: Ty) -> Vec<u8> {
    let mut out = Vec::new();
    let mut field = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        out.push(0);
    };
    match ty {
        Ty::Write => {
            let path = path(rng);
            field(path.as_bytes());
            let len = match rng.below(12) {
                0 => rng.pick(&[1990, 2000, 2010, 2030, 2048, 2049]),
                1 => 4096 - out.len(),
                _ => rng.below(6),
            };
            out.extend((0..len).map(|at| b'a' + (at % 23) as u8));
        }
        Ty::SetPerms => {
            field(path(rng).as_bytes());
            for _ in 0..rng.pick(&[1, 1, 1, 2, 2, 3, 4, 5, 6, 7]) {
                let domids =
                    ["0", "5", "5", "7", "7", "9", "0x5", "05", " 7", "32760", "65535", "x"];
                let domid = if rng.one_in(4) { rng.pick(&domids) } else { rng.pick(&domids[..6]) };
                field(format!("{}{domid}", rng.pick(&["n", "r", "w", "b"])).as_bytes());
            }
        }
        Ty::GetFeature | Ty::SetFeature | Ty::GetQuota | Ty::SetQuota => {
            let arguments =
                ["", "5", "9 2", "nodes", "5 nodes", "nodes 30", "5 watches 4", "x y z w"];
            rng.pick(&arguments).split(' ').for_each(|word| field(word.as_bytes()));
        }
        Ty::Watch | Ty::Unwatch => {
            let special = ["@introduceDomain", "@releaseDomain", "/"];
            let path = if rng.one_in(8) { rng.pick(&special).to_owned() } else { path(rng) };
            field(path.as_bytes());
            field(rng.pick(&["t", "u", ""]).as_bytes());
            if ty == Ty::Watch && rng.one_in(8) {
                field(rng.pick(&["0", "1", "2", "x"]).as_bytes());
            }
        }
        Ty::DirectoryPart => {
            field(path(rng).as_bytes());
            field(rng.pick(&["0", "0", "1", "2", "99", "x"]).as_bytes());
        }
        Ty::TransactionStart | Ty::ResetWatches => field(b""),
        Ty::TransactionEnd => field(rng.pick(&["T", "T", "T", "F"]).as_bytes()),
        Ty::SetTarget => {
            field(rng.pick(&["5", "7", "9"]).as_bytes());
            field(rng.pick(&["5", "7", "9", "0"]).as_bytes());
        }
        // Domains 5 and 7 have to stay. Valid requests are made by `transient`.
        Ty::Introduce => {
            rng.pick(&["5 1", "x 1 0", "", "5 1 0"]).split(' ').for_each(|w| field(w.as_bytes()))
        }
        Ty::Release => field(rng.pick(&["0", "9", "x", ""]).as_bytes()),
        Ty::GetDomainPath | Ty::IsDomainIntroduced | Ty::Resume => {
            let domids = ["0", "5", "7", "9", "005", "32752", "0x5", " 5", "5x", "-5", "65541", ""];
            field(rng.pick(&domids).as_bytes());
        }
        Ty::Control => {
            let words = rng.pick(CONTROL);
            words.split(' ').for_each(|word| field(word.as_bytes()));
        }
        // Mostly below other nodes, so that those stay.
        Ty::Rm if !rng.one_in(6) => field((path(rng) + "/a").as_bytes()),
        _ => field(path(rng).as_bytes()),
    }
    out
}

/// Commands, some of which set low quotas. Memory and outstanding requests are missing: a guest
/// that exceeds those quotas receives no replies.
const CONTROL: &[&str] = &[
    "check",
    "check more",
    "print hello",
    "print",
    "print a b",
    "nonsense",
    "log on",
    "log off",
    "log maybe",
    "log",
    "logfile /dev/null",
    "logfile",
    "memreport a b",
    "help me",
    "quota",
    "quota-soft",
    "quota-soft set nodes 3",
    "quota-soft set memory 3",
    "quota 99",
    "quota 5 6",
    "quota set",
    "quota set nodes",
    "quota set nodes 0",
    "quota set nodes many",
    "quota set sheep 3",
    "quota set nodes 3",
    "quota set nodes 6",
    "quota set watches 2",
    "quota set transactions 1",
    "quota set transaction-nodes 4",
    "quota set permissions 2",
    "quota set node-permissions 2",
    "quota set nodes 4294967299",
    "quota max x",
    "quota -1",
    "log +acc",
    "log -acc",
    "log +none",
    "live-update",
    "live-update -a",
    "live-update -f",
    "quota set outstanding 30",
    "quota set memory 3000000",
    "quota set path-max 20",
    "quota set node-size 60",
];

fn path(rng: &mut Rng) -> String {
    if rng.one_in(25) {
        return rng
            .pick(&[
                "/",
                "",
                "//",
                "/t/",
                "/t//a",
                "/t/ a",
                "@releaseDomain",
                "@introduceDomain",
                "@other",
                "/none/at/all",
                "/local",
                "/local/domain",
                "/tool",
                "data/",
                "/t/a.b",
            ])
            .to_owned();
    }
    let mut path = rng
        .pick(&[
            "/t",
            "/t",
            "/t",
            "/t",
            "data",
            "data",
            "/local/domain/5/data",
            "/local/domain/7/data",
            "/local/domain/0",
            "x",
            "/local/domain/5",
            "device",
        ])
        .to_owned();
    for _ in 0..rng.pick(&[0, 1, 1, 1, 2, 2, 3]) {
        path.push('/');
        path.push_str(rng.pick(&["a", "b", "c"]));
    }
    path
}

/// Makes a payload malformed, except for the final NUL: see `known.rs`.
fn mangle(rng: &mut Rng, ty: Ty, payload: &mut Vec<u8>) {
    match rng.below(4) {
        0 => payload.push(0),
        1 => payload.extend_from_slice(b"more\0"),
        2 => {
            let at = rng.below(payload.len() + 1);
            payload.insert(at, 0);
        }
        _ => {
            let at = rng.below(payload.len().max(1));
            payload.truncate(at);
            payload.push(0);
        }
    }
    payload.truncate(4096);
    if ty != Ty::Write {
        if let Some(last) = payload.last_mut() {
            *last = 0;
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", CONNECTIONS[self.conn])?;
        match (Ty::from_u32(self.ty), self.ty) {
            (Some(ty), _) => write!(f, "{ty}")?,
            (None, DIES) => write!(f, "dies")?,
            (None, SHUTS_DOWN) => write!(f, "shuts-down")?,
            (None, ty) => write!(f, "{ty}")?,
        }
        match self.tx {
            Tx::None => write!(f, " -")?,
            Tx::Slot(slot) => write!(f, " {slot}")?,
            Tx::Bogus => write!(f, " ?")?,
        }
        write!(f, " >{} {}", self.into, self.payload.escape_ascii())
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.splitn(5, ' ');
        let mut word = || words.next().ok_or("a request has five words".to_owned());
        let (name, ty, tx, into, payload) = (word()?, word()?, word()?, word()?, word()?);
        let conn = CONNECTIONS.iter().position(|known| *known == name);
        let conn = conn.ok_or(format!("unknown connection {name}"))?;
        let named = Ty::ALL.iter().find(|known| known.name() == ty).map(|ty| *ty as u32);
        let named = match ty {
            "dies" => Some(DIES),
            "shuts-down" => Some(SHUTS_DOWN),
            _ => named,
        };
        let ty = named.or_else(|| ty.parse().ok()).ok_or(format!("unknown message type {ty}"))?;
        let tx = match tx {
            "-" => Tx::None,
            "?" => Tx::Bogus,
            slot => Tx::Slot(slot.parse().map_err(|_| format!("invalid transaction {slot}"))?),
        };
        let into = into.strip_prefix('>').and_then(|slot| slot.parse().ok());
        let into = into.ok_or("the fourth word is not > and a slot".to_owned())?;
        Ok(Op { conn, ty, tx, into, payload: unescape(payload)? })
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'x') => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&digits, 16).map_err(|_| "invalid escape")?);
            }
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(same) => out.push(same),
            None => return Err("backslash at the end".to_owned()),
        }
    }
    Ok(out)
}
