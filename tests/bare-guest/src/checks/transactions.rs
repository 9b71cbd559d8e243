//! Transactions.

use xs_proto::{ErrorCode, Path, Reply, Request, TxId};

use super::ensure;
use crate::Options;
use crate::store::{Result, Store, unexpected};

/// A transaction is refused if what it read has changed, and succeeds when it is run again.
pub fn conflict(store: &mut Store, _: Options<'_>) -> Result<()> {
    store.write("data/bare/from", b"old")?;
    ensure(!copy(store, Some(b"new"))?, "a conflict was not noticed")?;
    let reply = store.call(&Request::Read(Path::new("data/bare/to")?))?;
    ensure(reply == Reply::Error(ErrorCode::NoEntry), "a refused transaction has written")?;
    ensure(copy(store, None)?, "a transaction without a conflict was refused")?;
    ensure(store.read("data/bare/to")? == b"new", "a transaction has read an old value")?;
    store.remove("data/bare")
}

/// Copies a node to another in a transaction, and returns whether the transaction was accepted.
/// Meanwhile the node changes to `meanwhile`.
fn copy(store: &mut Store, meanwhile: Option<&[u8]>) -> Result<bool> {
    let tx = match store.call(&Request::TransactionStart)? {
        Reply::Transaction(tx) => tx,
        reply => return Err(unexpected("start", "a transaction", &reply)),
    };
    let value = match store.call_in(tx, &Request::Read(Path::new("data/bare/from")?))? {
        Reply::Value(value) => value,
        reply => return Err(unexpected("read", "data/bare/from", &reply)),
    };
    if let Some(other) = meanwhile {
        let from = Path::new("data/bare/from")?;
        store.call_in(TxId::NONE, &Request::Write { path: from, value: other })?;
    }
    let to = Path::new("data/bare/to")?;
    store.call_in(tx, &Request::Write { path: to, value: &value })?;
    match store.call_in(tx, &Request::TransactionEnd { commit: true })? {
        Reply::Done => Ok(true),
        Reply::Error(ErrorCode::Again) => Ok(false),
        reply => Err(unexpected("end", "a transaction", &reply)),
    }
}
