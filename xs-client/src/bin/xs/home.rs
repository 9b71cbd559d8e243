//! The domain that xs runs in, and its home, at which relative paths start.

use xs_client::{Client, Result};

/// Returns the number of the domain, or 0 if it cannot be read: dom0 need not have a node with its
/// number.
pub(crate) fn domid(client: &Client) -> u16 {
    client.read_parsed("domid").unwrap_or(0)
}

/// Returns the path of the home.
pub(crate) fn path(client: &Client) -> Result<String> {
    client.get_domain_path(domid(client))
}

/// Returns the absolute form of a path, which can be compared with other paths.
///
/// # Errors
/// Fails if the path is relative and the number of the domain cannot be read.
pub(crate) fn absolute(client: &Client, path: &str) -> Result<String> {
    if path.starts_with(['/', '@']) {
        return Ok(path.to_owned());
    }
    let domid: u16 = client.read_parsed_opt("domid")?.unwrap_or(0);
    Ok(format!("{}/{path}", client.get_domain_path(domid)?))
}
