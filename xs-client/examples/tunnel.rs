//! Reaches a xenstored through a TCP tunnel, as one does with `ssh -L` or `socat`.
//!
//!     cargo run -p xs-client --example tunnel [HOST:PORT]
//!
//! Without an address, the example starts a tunnel to the socket in `XENSTORED_PATH`, or to an
//! in-memory xenstored.

use std::env;
use std::error::Error;
use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use xs_client::{Client, DomId};
use xs_transport::StreamTransport;
use xs_transport::mock::{Server, Xenstored};

fn main() -> Result<(), Box<dyn Error>> {
    let address = match env::args().nth(1) {
        Some(address) => address,
        None => start_tunnel()?,
    };
    let name = address.clone();
    let client = Client::builder().reconnect(true).timeout(Duration::from_secs(5)).with_connector(
        move |_| {
            let stream = TcpStream::connect(&address)?;
            stream.set_nodelay(true)?;
            Ok(Box::new(StreamTransport::new(stream, &address)?))
        },
    )?;
    client.write("/tool/xs-example-tunnel", "hello through the tunnel")?;
    println!("{name}: {}", client.read_str("/tool/xs-example-tunnel")?);
    client.rm("/tool/xs-example-tunnel")?;
    let _ = fs::remove_file(in_memory_socket());
    Ok(())
}

/// Starts a tunnel from a TCP port to the socket of a xenstored.
fn start_tunnel() -> Result<String, Box<dyn Error>> {
    let socket = match env::var_os("XENSTORED_PATH") {
        Some(path) => path.into(),
        None => {
            start_xenstored()?;
            in_memory_socket()
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || -> io::Result<()> {
        for tcp in listener.incoming() {
            let (tcp, unix) = (tcp?, UnixStream::connect(&socket)?);
            let (mut requests, mut to_daemon) = (tcp.try_clone()?, unix.try_clone()?);
            thread::spawn(move || io::copy(&mut requests, &mut to_daemon));
            io::copy(&mut &unix, &mut &tcp)?;
            tcp.shutdown(Shutdown::Both)?;
        }
        Ok(())
    });
    Ok(address)
}

fn start_xenstored() -> Result<(), Box<dyn Error>> {
    let mut server = Server::new(Xenstored::new())?;
    server.bind(in_memory_socket(), DomId::DOM0)?;
    thread::spawn(move || server.run());
    Ok(())
}

/// Returns the path of the socket of the in-memory xenstored.
fn in_memory_socket() -> PathBuf {
    env::temp_dir().join(format!("xs-tunnel-{}", std::process::id()))
}
