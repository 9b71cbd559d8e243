//! A toolstack on tokio: creates 50 guests, asks them to shut down, and removes them, all at the same
//! time.
//!
//! ```text
//! cargo run -p xs-client --features tokio --example toolstack [-- --socket PATH]
//! ```
//!
//! On a machine without a xenstored, it uses an in-memory one. The guests are simulated, with nodes
//! below `/tool` and a task each, so the example runs beside real guests.

#[path = "simulation/connect.rs"]
mod connect;

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use xs_client::futures::Client;
use xs_client::{Permissions, Result};

const GUESTS: u16 = 50;
const ROOT: &str = "/tool/xs-example-toolstack";
/// How long a guest may take to acknowledge a request.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let [toolstack, guests] = connect::connect()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(toolstack, guests))?;
    Ok(())
}

async fn run(toolstack: xs_client::Client, guests: xs_client::Client) -> Result<()> {
    let (client, guests) = (Client::on_tokio(toolstack)?, Client::on_tokio(guests)?);
    client.rm_if_exists(ROOT).await?;
    let begin = Instant::now();
    let mut lives = JoinSet::new();
    for at in 0..GUESTS {
        let (client, home) = (client.clone(), format!("{ROOT}/{at}"));
        lives.spawn(play_guest(guests.clone(), home.clone()));
        lives.spawn(async move {
            create(&client, &home, &format!("guest-{at}")).await?;
            let acknowledged = shut_down(&client, &home).await?;
            println!("{home}: {}", if acknowledged { "has shut down" } else { "does not answer" });
            client.rm(&home).await
        });
    }
    while let Some(life) = lives.join_next().await {
        life.expect("no task panics")?;
    }
    println!("{GUESTS} guests in {} ms", begin.elapsed().as_millis());
    assert_eq!(client.directory(ROOT).await?.len(), 0);
    client.rm(ROOT).await
}

/// Creates the nodes of a guest, all or none. If another client changes the same nodes meanwhile, the
/// closure runs again, so it captures references only.
async fn create(client: &Client, home: &str, name: &str) -> Result<()> {
    let perms = &Permissions::owned_by(0);
    client
        .transaction(|tx| async move {
            tx.create(home, perms).await?;
            tx.write(format!("{home}/name"), name).await?;
            tx.mkdir_all(["data", "device"].map(|node| format!("{home}/{node}"))).await
        })
        .await
}

/// Asks a guest to shut down. Returns whether it has acknowledged that in time.
async fn shut_down(client: &Client, home: &str) -> Result<bool> {
    let path = format!("{home}/control/shutdown");
    client.write(&path, "poweroff").await?;
    match client.wait_for(&path, PATIENCE, |value| value == Some(b"")).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_timeout() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits for the request to shut down, and acknowledges it.
async fn play_guest(client: Client, home: String) -> Result<()> {
    let path = format!("{home}/control/shutdown");
    client.wait_for(&path, PATIENCE, |value| value == Some(b"poweroff")).await?;
    client.write(&path, "").await
}
