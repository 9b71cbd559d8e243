//! Serves an in-memory xenstored over Unix sockets.
//!
//! ```text
//! cargo run -p xs-transport --features serve --example serve -- DIR [--guest N]... \
//!     [--flavour c|c417|ocaml417] [--seed FILE] [--trace]
//! ```
//!
//! DIR gets `socket`, for dom0, and `guest-N` for each guest. The paths are printed when clients
//! can connect. It stops when its standard input ends.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::thread;

use xs_proto::DomId;
use xs_transport::mock::{Flavour, Server, Xenstored};

fn main() -> Result<(), Box<dyn Error>> {
    let mut dir = None;
    let mut guests: Vec<DomId> = Vec::new();
    let mut flavour = Flavour::default();
    let mut seed = String::new();
    let mut trace = false;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match &*arg {
            "--guest" => guests.push(value()?.parse()?),
            "--flavour" => {
                flavour = match &*value()? {
                    "c" => Flavour::C,
                    "c417" => Flavour::C417,
                    "ocaml417" => Flavour::Ocaml417,
                    other => return Err(format!("there is no flavour {other}").into()),
                }
            }
            "--seed" => seed = std::fs::read_to_string(value()?)?,
            "--trace" => trace = true,
            _ => dir = Some(PathBuf::from(arg)),
        }
    }
    let dir = dir.ok_or("where shall the sockets be? Give a directory")?;
    std::fs::create_dir_all(&dir)?;

    let xenstored = Xenstored::with_flavour(flavour);
    xenstored.seed(&seed)?;
    if trace {
        xenstored.set_trace(|trace| eprintln!("{trace}"));
    }
    let mut server = Server::new(xenstored.clone())?;
    let mut sockets = vec![("socket".to_owned(), DomId::DOM0)];
    sockets.extend(guests.iter().map(|domid| (format!("guest-{domid}"), *domid)));
    for (name, domid) in sockets {
        if domid != DomId::DOM0 {
            xenstored.seed(&home(domid))?;
        }
        let path = dir.join(name);
        server.bind(&path, domid)?;
        println!("{}", path.display());
    }

    let stop = server.stop_handle();
    thread::spawn(move || {
        // Until the end of the input, whatever it is.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        stop.stop();
    });
    Ok(server.run()?)
}

/// The nodes that a toolstack makes for a guest: some to read, some of its own.
fn home(domid: DomId) -> String {
    let home = format!("/local/domain/{domid}");
    let mut text = format!("{home} [n0 r{domid}]\n{home}/domid [n0 r{domid}] = {domid}\n");
    for name in ["data", "device", "drivers", "feature", "attr", "error", "control"] {
        text += &format!("{home}/{name} [n{domid}]\n");
    }
    text
}
