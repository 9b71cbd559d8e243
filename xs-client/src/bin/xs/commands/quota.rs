//! `xs quota`: the limits of domains, and their use.

use std::io::Write;

use clap::{Args, Subcommand};
use xs_client::{Client, DomId};

use crate::error::{CommandError, CommandResult};
use crate::escape::printable;
use crate::json::Object;
use crate::output::Output;
use crate::quotas::{self, Number};
use crate::table::Table;

/// Print or set quotas: how much of the daemon a domain may use
///
/// Without a command, prints all quotas. Dom0 has no limits. In the C daemon, a value of 0 means
/// that there is no limit.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Quota {
    #[command(subcommand)]
    command: Option<QuotaCommand>,
    #[command(flatten)]
    get: Get,
}

#[derive(Debug, Subcommand)]
enum QuotaCommand {
    /// Print quotas
    Get(Get),
    /// Set a quota
    Set(Set),
}

#[derive(Debug, Args)]
struct Get {
    /// Print the limits of a domain and its use [default: the limits of new domains]
    #[arg(short, long, value_name = "DOMID")]
    domain: Option<DomId>,
    /// Print a JSON object per quota, with the members "name", "limit", "unit", and with --domain
    /// "used"
    #[arg(long)]
    json: bool,
    /// Names of quotas [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, Args)]
struct Set {
    /// Set the quota of one domain (requires Xen 4.22) [default: that of new domains, and before
    /// Xen 4.22 that of all]
    #[arg(short, long, value_name = "DOMID")]
    domain: Option<DomId>,
    /// Name of the quota
    name: String,
    /// The limit, in the unit that `xs quota` prints
    value: u32,
}

impl Quota {
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        match &self.command {
            Some(QuotaCommand::Set(set)) => {
                quotas::set(client, set.domain, &set.name, set.value)?;
                Ok(true)
            }
            Some(QuotaCommand::Get(get)) => get.run(client, output),
            None => self.get.run(client, output),
        }
    }
}

impl Get {
    fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        let limits = quotas::limits(client, self.domain)?;
        let used = match self.domain {
            // The use is extra information.
            Some(domid) => quotas::usage(client, domid).unwrap_or_default(),
            None => Vec::new(),
        };
        if let Some(unknown) = self.names.iter().find(|name| value_of(&limits, name).is_none()) {
            let names: Vec<_> = limits.iter().map(|limit| limit.name.as_str()).collect();
            return Err(CommandError::new(format!("quota: this daemon has no quota {unknown:?}"))
                .with_hint(format!("it has {}", printable(&names.join(", ")))));
        }
        let is_wanted = |limit: &&Number| self.names.is_empty() || self.names.contains(&limit.name);
        let wanted = limits.iter().filter(is_wanted);
        let text = match self.json {
            true => wanted.map(|limit| self.json(limit, &used)).collect(),
            false => self.table(wanted, &used),
        };
        output.write_all(text.as_bytes())?;
        Ok(true)
    }

    fn json(&self, limit: &Number, used: &[Number]) -> String {
        let object = Object::new().string("name", &limit.name).raw("limit", limit.value);
        let object = object.string("unit", quotas::meaning(&limit.name).unit);
        match value_of(used, &limit.name) {
            Some(used) => object.raw("used", used),
            None => object,
        }
        .line()
    }

    fn table<'a>(&self, limits: impl Iterator<Item = &'a Number>, used: &[Number]) -> String {
        let has_usage = !used.is_empty();
        let mut table = match has_usage {
            true => Table::new(&["QUOTA", ">USED", ">LIMIT", "UNIT", "MEANING"]),
            false => Table::new(&["QUOTA", ">LIMIT", "UNIT", "MEANING"]),
        };
        for limit in limits {
            let meaning = quotas::meaning(&limit.name);
            let mut cells = vec![printable(&limit.name)];
            if has_usage {
                let used = value_of(used, &limit.name);
                cells.push(used.map_or("-".to_owned(), |used| used.to_string()));
            }
            cells.extend([
                limit.value.to_string(),
                meaning.unit.to_owned(),
                meaning.text.to_owned(),
            ]);
            table.row(cells);
        }
        table.text()
    }
}

fn value_of(numbers: &[Number], name: &str) -> Option<u64> {
    numbers.iter().find(|number| number.name == name).map(|number| number.value)
}
