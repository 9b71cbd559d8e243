//! The quotas of any daemon, from the requests of Xen 4.22 or the text of `control quota`.

use xs_client::{Client, DomId, ErrorCode};

use crate::error::{CommandError, CommandResult};

/// The limit or the use of a quota, as a daemon reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) name: String,
    pub(crate) value: u64,
}

/// The unit and the meaning of a quota.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meaning {
    pub(crate) unit: &'static str,
    pub(crate) text: &'static str,
}

/// The name, unit and meaning of each quota of the C daemons. The names are those on the wire and
/// in `control quota`.
const MEANINGS: &[(&str, &str, &str)] = &[
    ("nodes", "nodes", "nodes that the domain owns"),
    ("watches", "watches", "watches that the domain has set"),
    ("outstanding", "requests", "requests whose replies or events the domain has not taken"),
    ("memory", "bytes", "memory that the daemon uses for the domain; more is refused"),
    ("soft-memory", "bytes", "the same; more makes the daemon log a warning"),
    ("transactions", "transactions", "open transactions"),
    ("transaction-nodes", "nodes", "nodes that one transaction reads or changes"),
    ("node-permissions", "entries", "permissions of one node"),
    ("permissions", "entries", "permissions of one node"),
    ("path-max", "bytes", "length of a path"),
    ("node-size", "bytes", "value, names of children and permissions of one node"),
];

/// Returns the unit and the meaning of a quota.
pub(crate) fn meaning(name: &str) -> Meaning {
    let known = MEANINGS.iter().find(|(known, ..)| *known == name);
    let (_, unit, text) = known.copied().unwrap_or(("", "", ""));
    Meaning { unit, text }
}

/// Returns the limits for one domain, or for new domains.
pub(crate) fn limits(client: &Client, domid: Option<DomId>) -> CommandResult<Vec<Number>> {
    let quotas = match client.quotas() {
        Ok(quotas) => quotas,
        Err(error) if is_unknown(&error) => return limits_by_control(client, domid),
        Err(error) => return Err(error.into()),
    };
    let mut limits = Vec::new();
    for quota in quotas {
        let value = match domid {
            Some(domid) => client.get_domain_quota(domid, &quota),
            None => client.get_quota(&quota),
        };
        let value = match value {
            // Some quotas exist only for all domains together.
            Err(error) if error.code() == Some(&ErrorCode::Invalid) => continue,
            value => u64::from(value?),
        };
        limits.push(Number { name: quota.name().to_owned(), value });
    }
    Ok(limits)
}

/// Returns what a domain uses of its quotas. Empty if the daemon does not tell.
pub(crate) fn usage(client: &Client, domid: DomId) -> xs_client::Result<Vec<Number>> {
    let text = client.control(["quota".to_owned(), domid.to_string()])?;
    Ok(parse(&text))
}

/// Sets a limit for one domain, or for new domains.
pub(crate) fn set(
    client: &Client,
    domid: Option<DomId>,
    name: &str,
    value: u32,
) -> CommandResult<()> {
    let result = match domid {
        Some(domid) => client.set_domain_quota(domid, name, value),
        None => client.set_quota(name, value),
    };
    match (result, domid) {
        (Err(error), Some(_)) if is_unknown(&error) => Err(CommandError::new(
            "quota: this daemon has no quotas for a single domain, which need Xen 4.22",
        )
        .with_hint("without --domain, the quota of all domains is set")),
        (Err(error), None) if is_unknown(&error) => {
            limits_by_control(client, None)?;
            client.control(["quota", "set", name, &value.to_string()])?;
            Ok(())
        }
        (result, _) => Ok(result?),
    }
}

/// Returns the limits of daemons without requests for them, which are the same for all domains.
fn limits_by_control(client: &Client, domid: Option<DomId>) -> CommandResult<Vec<Number>> {
    if let Some((_, limit)) = domid.and_then(|domid| nodes_of_oxenstored(client, domid)) {
        return Ok(vec![limit]);
    }
    let limits = parse(&client.control(["quota"])?);
    if limits.is_empty() {
        return Err(CommandError::new("quota: this daemon does not tell its quotas").with_hint(
            "oxenstored has them in oxenstored.conf; --domain shows the nodes of a domain",
        ));
    }
    Ok(limits)
}

/// Returns the number of nodes of a domain, and the limit, if the daemon is oxenstored.
fn nodes_of_oxenstored(client: &Client, domid: DomId) -> Option<(Number, Number)> {
    let text = client.control(["quota".to_owned(), domid.to_string()]).ok()?;
    let (used, limit) = text.trim().split_once(" quota: ")?.1.split_once('/')?;
    let number = |text: &str| Some(Number { name: "nodes".to_owned(), value: text.parse().ok()? });
    Some((number(used)?, number(limit)?))
}

/// Parses the numbers in a reply to `control quota`. The form is `name : number`, and more may
/// follow. That of oxenstored is `dom5 quota: 7/1000`.
fn parse(text: &str) -> Vec<Number> {
    let number = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        let name = name.trim();
        let word = rest.split_whitespace().next()?;
        let (name, word) = match word.split_once('/') {
            Some((used, _)) if name.ends_with(" quota") => ("nodes", used),
            _ => (name, word),
        };
        Some(Number { name: name.to_owned(), value: word.parse().ok()? })
    };
    text.lines().filter_map(number).collect()
}

/// Returns whether the daemon does not know the request.
fn is_unknown(error: &xs_client::Error) -> bool {
    error.code() == Some(&ErrorCode::NotSupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_all_daemons_are_parsed() {
        let number = |name: &str, value| Number { name: name.to_owned(), value };
        let text = "Quota settings:\nnodes            :     1000 Nodes per domain\npath-max         :     2048 Max. length\n";
        assert_eq!(parse(text), [number("nodes", 1000), number("path-max", 2048)]);
        let text = "Domain 5:\nnodes           :        7 (max       11)\n";
        assert_eq!(parse(text), [number("nodes", 7)]);
        assert_eq!(parse("dom5 quota: 7/1000"), [number("nodes", 7)]);
        assert_eq!(parse("OK"), []);
    }
}
