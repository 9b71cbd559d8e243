//! The domain is suspended and resumed. Its kernel sets the watches again, and the transactions end.

mod support;

use xs_client::{Client, DomId, Error, Permissions, Result, Transaction};
use xs_transport::mock::{Kernel, Xenstored};

/// Starts a kernel of a guest and a client of its device.
fn start() -> (Xenstored, Kernel, Client) {
    let xenstored = Xenstored::new();
    xenstored.set("/local/domain/5/data/node", "1").unwrap();
    let owned = Permissions::owned_by(DomId::new(5));
    let host = Client::from_transport(xenstored.connect(DomId::DOM0));
    host.set_perms("/local/domain/5/data/node", &owned).unwrap();
    let kernel = Kernel::new(&xenstored, DomId::new(5));
    let client = Client::from_transport(kernel.open().unwrap().transport().unwrap());
    (xenstored, kernel, client)
}

/// Runs `body` in a transaction, and resumes the domain before its first run.
fn transaction_with_resume(mut body: impl FnMut(&Transaction) -> Result<()>) -> (u32, Result<()>) {
    let (_xenstored, kernel, client) = start();
    let mut runs = 0;
    let result = client.transaction(|tx| {
        runs += 1;
        if runs == 1 {
            kernel.resume();
        }
        body(tx)
    });
    (runs, result)
}

#[test]
fn transaction_that_a_resume_has_ended_runs_again() {
    let (runs, result) = transaction_with_resume(|tx| tx.read("data/node").map(drop));
    result.unwrap();
    assert_eq!(runs, 2);
    let (runs, result) = transaction_with_resume(|tx| tx.write("data/node", "2"));
    result.unwrap();
    assert_eq!(runs, 2);
    // The caller's own error may be a consequence of the values that the transaction has shown.
    let (runs, result) = transaction_with_resume(|tx| match tx.exists("data/node")? {
        true => Ok(()),
        false => Err(Error::other("there is no node")),
    });
    result.unwrap();
    assert_eq!(runs, 2);
}

#[test]
fn errors_in_live_transactions_are_returned() {
    let (_xenstored, _kernel, client) = start();
    let mut runs = 0;
    let result = client.transaction(|tx| {
        runs += 1;
        tx.read("data/node/none")
    });
    assert!(result.unwrap_err().is_not_found());
    assert_eq!(runs, 1);
}

#[cfg(feature = "futures")]
#[test]
fn transaction_of_futures_that_a_resume_has_ended_runs_again() {
    use futures_lite::future::block_on;

    let (_xenstored, kernel, client) = start();
    let client = xs_client::futures::Client::on_thread(client).unwrap();
    let mut runs = 0;
    let value = block_on(client.transaction(|tree| {
        runs += 1;
        if runs == 1 {
            kernel.resume();
        }
        async move { tree.read("data/node").await }
    }));
    assert_eq!(value.unwrap(), b"1");
    assert_eq!(runs, 2);
}
