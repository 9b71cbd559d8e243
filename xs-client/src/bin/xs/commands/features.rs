//! `xs features`: the features that the daemon announces.

use std::io::Write;

use clap::Args;
use xs_client::{Client, DomId, ErrorCode, Features as Set};

use crate::error::{CommandError, CommandResult};
use crate::json::Object;
use crate::output::Output;
use crate::table::Table;

/// Print the features of the daemon (requires Xen 4.21)
#[derive(Debug, Args)]
pub(crate) struct Features {
    /// Print the features that a domain sees [default: those of the daemon]
    #[arg(short, long, value_name = "DOMID")]
    domain: Option<DomId>,
    /// Print a JSON object per feature, with the members "name" and "available"
    #[arg(long)]
    json: bool,
}

const MEANINGS: [(Set, &str); 4] = [
    (Set::RECONNECTION, "a guest can reset its ring and connect again"),
    (Set::ERROR, "the daemon reports errors of a guest's ring in the ring"),
    (Set::WATCH_DEPTH, "a watch can be limited to some levels, as `xs watch --depth` does"),
    (Set::DOMID_ANY, "permissions can name all domains together"),
];

impl Features {
    pub(crate) fn run(&self, client: &Client, output: &mut Output) -> CommandResult {
        let features = match self.domain {
            Some(domid) => client.get_domain_features(domid),
            None => client.get_features(),
        };
        let features = features.map_err(|error| match error.code() {
            Some(ErrorCode::NotSupported) => CommandError::new(
                "features: this daemon does not announce its features, which needs Xen 4.21",
            )
            .with_hint("`xs info` shows what its replies reveal"),
            _ => error.into(),
        })?;
        let known = MEANINGS.iter().fold(Set::NONE, |known, (feature, _)| known.union(*feature));
        let unknown = features.difference(known);
        let named = MEANINGS.iter().map(|(feature, meaning)| (*feature, *meaning));
        let unnamed = (!unknown.is_empty()).then_some((unknown, "not known to this version of xs"));
        let mut table = Table::new(&["FEATURE", "AVAILABLE", "MEANING"]);
        for (feature, meaning) in named.chain(unnamed) {
            let is_available = features.contains(feature);
            if self.json {
                let object = Object::new().string("name", &feature.to_string());
                output.write_all(object.raw("available", is_available).line().as_bytes())?;
            }
            let available = if is_available { "yes" } else { "no" };
            table.row([feature.to_string(), available.to_owned(), meaning.to_owned()]);
        }
        if !self.json {
            output.write_all(table.text().as_bytes())?;
        }
        Ok(true)
    }
}
