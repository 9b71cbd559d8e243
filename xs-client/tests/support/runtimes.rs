//! The runtimes on which futures are tested.

use std::future::Future;

use xs_client::futures::Client;

/// Runs a test with tokio on one thread, tokio on several threads, smol, and a thread of the client.
/// Runs it again with drivers that the program polls. Each run gets what `start` returns.
///
/// Such a driver has to end when the test has dropped its client.
pub(crate) fn on_each_runtime<D, F: Future<Output = ()>>(
    start: impl Fn() -> (xs_client::Client, D),
    test: impl Fn(Client, D) -> F,
) {
    for mut builder in
        [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()]
    {
        let runtime = builder.enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, daemon) = start();
            test(Client::on_tokio(client).unwrap(), daemon).await;

            let (client, daemon) = start();
            let (client, driver) = Client::with_tokio_driver(client).unwrap();
            let driver = tokio::spawn(driver);
            test(client, daemon).await;
            driver.await.unwrap().unwrap();
        });
    }

    #[cfg(feature = "smol")]
    smol::block_on(async {
        let (client, daemon) = start();
        test(Client::on_smol(client).unwrap(), daemon).await;

        let (client, daemon) = start();
        let (client, driver) = Client::with_smol_driver(client).unwrap();
        let driver = smol::spawn(driver);
        test(client, daemon).await;
        driver.await.unwrap();
    });

    let (client, daemon) = start();
    futures_lite::future::block_on(test(Client::on_thread(client).unwrap(), daemon));
}

/// Runs a future with tokio on the current thread.
pub(crate) fn block_on_tokio<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
