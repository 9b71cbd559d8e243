//! Messages that are longer than the ring, which has 1024 bytes for a header of 16 and a payload.

use alloc::format;
use alloc::vec::Vec;

use xs_proto::{ErrorCode, Path, Reply, Request, TxId};

use super::{ensure, watches};
use crate::store::{Result, Store, unexpected};
use crate::{Options, print_line};

/// Values from 1009 bytes to the daemon's quota.
pub fn values(store: &mut Store, _: Options<'_>) -> Result<()> {
    let bytes: Vec<u8> = (0..=250).cycle().take(4000).collect();
    let path = Path::new("data/bare/value")?;
    let mut longest = 0;
    for len in (1009..4000).step_by(71) {
        match store.call(&Request::Write { path, value: &bytes[..len] })? {
            Reply::Done => {}
            Reply::Error(ErrorCode::NoSpace | ErrorCode::TooBig | ErrorCode::Quota) => break,
            reply => return Err(unexpected("write", path.as_str(), &reply)),
        }
        ensure(store.read(path.as_str())? == bytes[..len], "a long value has changed")?;
        longest = len;
    }
    print_line!("values of 1009 to {longest} bytes");
    ensure(longest > 1024, "long values are refused")?;
    store.remove("data/bare")
}

/// Events of 1009 to 4096 bytes. They have the token of the watch, which no quota limits. All requests
/// are in flight at once, so that events and replies alternate in the ring.
pub fn events(store: &mut Store, _: Options<'_>) -> Result<()> {
    const PATH: &str = "data/bare";
    let token = [b'x'; 4096];
    // A payload has two NULs besides path and token.
    let tokens = || {
        let lens = (1009..4096).step_by(61).chain([4095, 4096]);
        lens.map(|len| &token[..len - PATH.len() - 2])
    };
    let path = Path::new(PATH)?;
    for token in tokens() {
        store.submit(TxId::NONE, &Request::Watch { path, token, depth: None })?;
        store.submit(TxId::NONE, &Request::Unwatch { path, token })?;
    }
    for token in tokens() {
        watches::expect(store, PATH, token)?;
        for _ in 0..2 {
            let (_, reply) = store.next_reply()?;
            ensure(reply == Reply::Done, "a watch with a long token is refused")?;
        }
    }
    Ok(())
}

/// A directory from every offset at which a name begins.
pub fn parts(store: &mut Store, _: Options<'_>) -> Result<()> {
    for number in 0..40 {
        store.write(&format!("data/bare/{number}-{:x>32}", ""), b"")?;
    }
    let path = Path::new("data/bare")?;
    let names = match store.call(&Request::Directory(path))? {
        Reply::Children(names) => names.as_bytes().to_vec(),
        reply => return Err(unexpected("list", path.as_str(), &reply)),
    };
    let mut offset = 0;
    while offset < names.len() {
        match part(store, path, offset)? {
            None => {
                print_line!("xenstored does not offer directories in parts");
                break;
            }
            Some((children, last)) => {
                ensure(last && names.ends_with(&children), "a part is another")?;
                ensure(children.len() == names.len() - offset, "a part has another length")?;
            }
        }
        offset += names[offset..].iter().position(|byte| *byte == 0).unwrap_or(0) + 1;
    }
    store.remove("data/bare")
}

/// Nodes that dom0 has written for this guest, beyond the quotas of guests: values, and a directory
/// that does not fit into one reply. See dom0.sh.
pub fn of_dom0(store: &mut Store, options: Options<'_>) -> Result<()> {
    if !options.has("dom0") {
        print_line!("left out: dom0 is not asked to write nodes");
        return Ok(());
    }
    store.watch("data/ready", b"dom0")?;
    while matches!(store.call(&Request::Read(Path::new("data/ready")?))?, Reply::Error(_)) {
        store.next_event()?;
    }
    store.unwatch("data/ready", b"dom0")?;
    while store.take_event().is_some() {}

    let lens = match store.call(&Request::Directory(Path::new("data/large")?))? {
        Reply::Children(lens) => lens,
        reply => return Err(unexpected("list", "data/large", &reply)),
    };
    ensure(lens.iter().count() >= 3, "dom0 has not written the values")?;
    for name in lens.iter() {
        let name = str::from_utf8(name)?;
        let value = store.read(&format!("data/large/{name}"))?;
        ensure(value.len() == name.parse()?, "a value has another length")?;
        ensure(value.iter().all(|byte| *byte == b'v'), "a value is another")?;
    }
    let path = Path::new("data/many")?;
    let mut names = Vec::new();
    loop {
        match part(store, path, names.len())? {
            None => match store.call(&Request::Directory(path))? {
                Reply::Children(children) => names = children.as_bytes().to_vec(),
                Reply::Error(ErrorCode::TooBig) => {
                    print_line!("the directory is too long for this xenstored");
                    return Ok(());
                }
                reply => return Err(unexpected("list", path.as_str(), &reply)),
            },
            Some((children, last)) => {
                names.extend(children);
                if !last {
                    continue;
                }
            }
        }
        break;
    }
    let count = names.iter().filter(|byte| **byte == 0).count();
    print_line!("a directory of {count} names in {} bytes", names.len());
    ensure(count == 300 && names.len() > 4096, "the directory has another length")
}

/// Returns the rest of a directory from an offset on, as much as one reply can have, and whether it is
/// the end. `None` if the daemon does not know the request.
fn part(store: &mut Store, path: Path<'_>, offset: usize) -> Result<Option<(Vec<u8>, bool)>> {
    match store.call(&Request::DirectoryPart { path, offset: offset as u32 })? {
        Reply::Part { children, last, .. } => Ok(Some((children.as_bytes().to_vec(), last))),
        Reply::Error(ErrorCode::NotSupported | ErrorCode::Invalid) => Ok(None),
        reply => Err(unexpected("list a part of", path.as_str(), &reply)),
    }
}
