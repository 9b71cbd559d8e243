//! `xs domain`: the domains that the daemon knows.

use std::io::Write;

use clap::{Args, Subcommand};
use xs_client::{Client, DomId, ErrorCode};

use crate::error::CommandResult;
use crate::escape::printable;
use crate::json::Object;
use crate::output::Output;
use crate::table::Table;

/// List domains, or tell the daemon what happens to one
///
/// Toolstacks introduce and release domains themselves. Only dom0 may use these commands.
#[derive(Debug, Args)]
pub(crate) struct Domain {
    #[command(subcommand)]
    command: DomainCommand,
}

#[derive(Debug, Subcommand)]
enum DomainCommand {
    List(List),
    Introduce(Introduce),
    /// Tell the daemon that a domain is gone: it closes the connection and removes the watches
    Release(One),
    /// Tell the daemon that a domain runs again after it was suspended, so that it reports its next
    /// shutdown
    Resume(One),
    SetTarget(SetTarget),
    /// Print the path of the node that is the home of a domain
    Path(One),
}

/// List the domains that have a home in /local/domain
///
/// INTRODUCED says whether the daemon has a connection for the domain. A domain without one may
/// have been destroyed, and its nodes left behind.
#[derive(Debug, Args)]
struct List {
    /// Print a JSON object per domain, with the members "domid", "introduced", "name" and "home"
    #[arg(long)]
    json: bool,
}

/// Tell the daemon of a new domain, so that it connects to it
#[derive(Debug, Args)]
struct Introduce {
    /// Number of the domain
    domid: DomId,
    /// Frame number of the page that the domain shares with the daemon
    gfn: u64,
    /// Event channel of the domain for this page
    evtchn: u32,
}

/// Give a domain the rights of another one, such as those of a guest to its device model
#[derive(Debug, Args)]
struct SetTarget {
    /// Number of the domain that gets the rights
    domid: DomId,
    /// Number of the other domain
    target: DomId,
}

#[derive(Debug, Args)]
struct One {
    /// Number of the domain
    domid: DomId,
}

impl Domain {
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        match &self.command {
            DomainCommand::List(list) => return list.run(client, output),
            DomainCommand::Introduce(Introduce { domid, gfn, evtchn }) => {
                client.introduce(*domid, *gfn, *evtchn)?;
            }
            DomainCommand::Release(One { domid }) => client.release(*domid)?,
            DomainCommand::Resume(One { domid }) => client.resume(*domid)?,
            DomainCommand::SetTarget(SetTarget { domid, target }) => {
                client.set_target(*domid, *target)?;
            }
            DomainCommand::Path(One { domid }) => {
                let path = client.get_domain_path(*domid)?;
                writeln!(output, "{}", printable(&path))?;
            }
        }
        Ok(true)
    }
}

impl List {
    fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        let mut table = Table::new(&[">DOMID", "INTRODUCED", "NAME"]);
        for domid in domids(client)? {
            let home = format!("/local/domain/{domid}");
            let name = client.read_opt(format!("{home}/name")).unwrap_or_default();
            let name = String::from_utf8_lossy(&name.unwrap_or_default()).into_owned();
            // Old daemons do not know the request.
            let is_introduced = match client.is_domain_introduced(domid) {
                Err(error) if error.code() == Some(&ErrorCode::NotSupported) => None,
                result => Some(result?),
            };
            if self.json {
                let introduced = is_introduced.map_or("null".to_owned(), |yes| yes.to_string());
                let object = Object::new().raw("domid", domid).raw("introduced", introduced);
                let object = object.string("name", &name).string("home", &home);
                output.write_all(object.line().as_bytes())?;
            }
            let introduced = is_introduced.map_or("-", |yes| if yes { "yes" } else { "no" });
            table.row([domid.to_string(), introduced.to_owned(), printable(&name)]);
        }
        if !self.json {
            output.write_all(table.text().as_bytes())?;
        }
        Ok(true)
    }
}

/// Returns the domains that have a home, in order.
pub(crate) fn domids(client: &Client) -> xs_client::Result<Vec<DomId>> {
    let names = client.directory("/local/domain")?;
    let mut domids: Vec<DomId> = names.iter().filter_map(|name| name.parse().ok()).collect();
    domids.sort();
    Ok(domids)
}
