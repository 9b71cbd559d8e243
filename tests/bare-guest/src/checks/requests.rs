//! Single requests.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use xs_proto::{ErrorCode, Path, Permissions, Reply, Request};

use super::ensure;
use crate::store::{Result, Store, unexpected};
use crate::{Options, print_line};

/// A guest knows neither its number nor its name, but reads them.
pub fn identity(store: &mut Store, _: Options<'_>) -> Result<()> {
    let (domid, name) = (store.read_text("domid")?, store.read_text("name")?);
    print_line!("this is domain {domid}, {name}; xenstored offers {}", store.features());
    let absolute = store.read_text(&format!("/local/domain/{domid}/name"))?;
    ensure(absolute == name, "relative paths begin elsewhere")
}

/// Values are bytes.
pub fn values(store: &mut Store, _: Options<'_>) -> Result<()> {
    let bytes: Vec<u8> = (0..=255).collect();
    for value in [&b""[..], b"text", &bytes] {
        store.write("data/bare/value", value)?;
        ensure(store.read("data/bare/value")? == value, "a value has changed")?;
    }
    store.remove("data/bare")?;
    let reply = store.call(&Request::Read(Path::new("data/bare/value")?))?;
    ensure(reply == Reply::Error(ErrorCode::NoEntry), "a removed node is still there")
}

pub fn lists(store: &mut Store, _: Options<'_>) -> Result<()> {
    for name in ["c", "a", "b"] {
        let path = format!("data/bare/list/{name}");
        store.done("create", &path, &Request::Mkdir(Path::new(&path)?))?;
    }
    let mut names = match store.call(&Request::Directory(Path::new("data/bare/list")?))? {
        Reply::Children(names) => names.iter().map(<[u8]>::to_vec).collect::<Vec<_>>(),
        reply => return Err(unexpected("list", "data/bare/list", &reply)),
    };
    names.sort();
    ensure(names == [b"a", b"b", b"c"], "the list has other names")?;
    store.remove("data/bare")
}

pub fn permissions(store: &mut Store, _: Options<'_>) -> Result<()> {
    let domid: u16 = store.read_text("domid")?.parse()?;
    store.write("data/bare/private", b"")?;
    let path = Path::new("data/bare/private")?;
    let wanted = Permissions::owned_by(domid).read(0);
    let request = Request::SetPerms { path, perms: Cow::Borrowed(&wanted) };
    store.done("set the permissions of", path.as_str(), &request)?;
    match store.call(&Request::GetPerms(path))? {
        Reply::Permissions(perms) => ensure(perms == wanted, "the permissions are others")?,
        reply => return Err(unexpected("permissions", path.as_str(), &reply)),
    }
    store.remove("data/bare")?;
    let foreign = Request::Write { path: Path::new("/bare-guest")?, value: b"" };
    let reply = store.call(&foreign)?;
    ensure(reply == Reply::Error(ErrorCode::Access), "a guest writes where it must not")
}
