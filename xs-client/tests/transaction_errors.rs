//! The errors that the closure of a transaction can return.

mod support;

use std::error::Error as StdError;
use std::fmt;
use std::io;

use xs_client::{Error, ErrorCode, ErrorKind, Permissions, Result, Retries};
use xs_proto::MessageType;
use xs_transport::mock::Fault;

use support::daemon::start;

fn discard<T>(_: T) -> Result<()> {
    Ok(())
}

#[test]
fn question_mark_converts_common_errors() {
    type Failing = fn() -> Result<()>;
    let failing: [(Failing, &str); 7] = [
        (|| Err(io::Error::other("disk"))?, "disk"),
        (|| discard("x".parse::<u32>()?), "invalid digit found in string"),
        (|| discard("x".parse::<f64>()?), "invalid float literal"),
        (|| discard(String::from_utf8(vec![0xff])?), "invalid utf-8 sequence"),
        (|| Err("no port")?, "no port"),
        (|| Err(Box::<dyn StdError + Send + Sync>::from("boxed"))?, "boxed"),
        (|| discard("x5".parse::<Permissions>()?), "not a permission"),
    ];
    for (fail, message) in failing {
        let (_xenstored, client) = start();
        let error = client
            .transaction(|tx| {
                tx.write("/a", "1")?;
                fail()
            })
            .unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Other(_)), "{error}");
        assert!(error.to_string().starts_with(message), "{error}");
        assert!(!client.exists("/a").unwrap());
    }
}

#[test]
fn conflict_inside_of_io_error_repeats_the_transaction() {
    let (_xenstored, client) = start();
    let mut runs = 0;
    client
        .transaction(|_| {
            runs += 1;
            match runs {
                1 => {
                    let tx = client.start_transaction()?;
                    tx.write("/a", "1")?;
                    client.write("/a", "2")?;
                    tx.commit().map_err(io::Error::from)?;
                    Ok(())
                }
                _ => Ok(()),
            }
        })
        .unwrap();
    assert_eq!(runs, 2);
}

/// The error type of a program.
#[derive(Debug)]
enum Own {
    NoPort,
    Xenstore(Error),
}

impl From<Error> for Own {
    fn from(error: Error) -> Self {
        Own::Xenstore(error)
    }
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Own::NoPort => f.write_str("there is no port"),
            Own::Xenstore(error) => error.fmt(f),
        }
    }
}

impl StdError for Own {}

#[test]
fn callers_error_type_is_returned_unchanged() {
    let (_xenstored, client) = start();
    let result = client.try_transaction(|tx| {
        tx.write("/a", "1")?;
        tx.read_opt("/port")?.ok_or(Own::NoPort)
    });
    assert!(matches!(result, Err(Own::NoPort)), "{result:?}");
    assert!(!client.exists("/a").unwrap());
    let result: std::result::Result<(), Box<dyn StdError>> = client.try_transaction(|tx| {
        tx.write("/a", "1")?;
        Err(Own::NoPort)?;
        Ok(())
    });
    assert!(result.unwrap_err().is::<Own>());
}

#[test]
fn transaction_with_callers_error_type_repeats_after_conflicts() {
    let (xenstored, client) = start();
    xenstored.inject(Fault::error(ErrorCode::Again).on(MessageType::TransactionEnd));
    let mut runs = 0;
    let run = client.try_transaction(|tx| {
        runs += 1;
        tx.write("/a", "1")?;
        Ok::<_, Own>(runs)
    });
    assert_eq!(run.unwrap(), 2);
    let once = Retries { attempts: 1, ..Retries::default() };
    xenstored.inject(Fault::error(ErrorCode::Again).on(MessageType::TransactionEnd));
    let error = client.try_transaction_with(once, |tx| Ok::<_, Own>(tx.mkdir("/b")?)).unwrap_err();
    let Own::Xenstore(error) = error else { panic!("the transaction has not conflicted") };
    assert!(matches!(error.kind(), ErrorKind::Conflict { attempts: 1 }), "{error}");
}

#[cfg(feature = "futures")]
#[test]
fn futures_return_and_repeat_as_threads_do() {
    use futures_lite::future::block_on;

    let (xenstored, client) = start();
    let client = xs_client::futures::Client::on_thread(client).unwrap();
    block_on(async {
        let result = client
            .try_transaction(|tx| async move {
                tx.write("/a", "1").await?;
                tx.read_opt("/port").await?.ok_or(Own::NoPort)
            })
            .await;
        assert!(matches!(result, Err(Own::NoPort)), "{result:?}");
        assert_eq!(client.read_opt("/a").await.unwrap(), None);
        assert_eq!(client.read_str_opt("/a").await.unwrap(), None);
        assert_eq!(client.read_parsed_opt::<u32>("/a").await.unwrap(), None);
        assert_eq!(client.directory_opt("/a").await.unwrap(), None);
        client.rm_if_exists("/a/b/c").await.unwrap();

        xenstored.inject(Fault::error(ErrorCode::Again).on(MessageType::TransactionEnd));
        let perms = Permissions::owned_by(5).read(7);
        client.create("/a/b", &perms).await.unwrap();
        assert_eq!(client.get_perms("/a/b").await.unwrap(), perms);
        client
            .transaction(|tx| async move { tx.create("/a/c", &Permissions::owned_by(0)).await })
            .await
            .unwrap();
        let error =
            client.transaction(|_| async move { Ok("x".parse::<u32>()?) }).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Other(_)), "{error}");
    });
}
