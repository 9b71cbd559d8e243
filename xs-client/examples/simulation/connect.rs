//! The daemon that an example uses.

use xs_client::{Client, DomId, Result};
use xs_transport::mock::Xenstored;

/// Returns two clients of the daemon: of the socket that the arguments `--socket PATH` name, of this
/// machine's xenstored, or of one in memory.
pub(crate) fn connect() -> Result<[Client; 2]> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [option, path] = &arguments[..] {
        assert_eq!(option, "--socket", "the arguments are not --socket PATH");
        return Ok([Client::open_at(path)?, Client::open_at(path)?]);
    }
    match Client::open() {
        Ok(client) => Ok([client, Client::open()?]),
        Err(error) => {
            println!("{error}\nUsing an in-memory xenstored instead\n");
            let xenstored = Xenstored::new();
            Ok([(); 2].map(|()| Client::from_transport(xenstored.connect(DomId::DOM0))))
        }
    }
}
