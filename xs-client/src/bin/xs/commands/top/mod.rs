//! `xs top`: a live view of the tree.

mod app;
mod display;
mod model;
mod stats;
mod view;
mod worker;

use std::io::{self, IsTerminal};
use std::sync::mpsc;
use std::thread;

use clap::Args;
use ratatui::crossterm::event;
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;
use xs_client::{Client, WatchEvent};

use self::app::App;
use self::worker::Answer;
use crate::error::{CommandError, CommandResult};
use crate::home;

/// Browse the tree in a view that shows changes as they happen
///
/// Arrows or h, j, k and l move, open and close nodes. Nodes that change are marked with a star for
/// some seconds. The first line counts events per second, also by domain, and the last lines show
/// the selected node, and its domain's use of quotas.
///
/// / filters by path and value, e edits the value, p shows permissions, r reads all nodes again,
/// and q leaves.
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Path of the node to start at [default: /, or the home of a guest]
    path: Option<String>,
}

/// An input of the view.
enum Input {
    /// A key, or another size of the terminal.
    Terminal(event::Event),
    Event(xs_client::Result<WatchEvent>),
    Answer(Answer),
    Quit,
}

/// The number of inputs that may wait for the view. The senders of further inputs wait, while the
/// client merges events of the same node.
const INPUTS_AHEAD: usize = 256;

impl Top {
    pub(crate) fn run(&self, client: &Client) -> CommandResult {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(CommandError::new("top: standard input and output must be a terminal")
                .with_hint("`xs ls` and `xs watch` print to files and pipes"));
        }
        let root = self.root(client)?;
        let failed = |error| CommandError::io("cannot start the view", error);
        let (sender, inputs) = mpsc::sync_channel(INPUTS_AHEAD);
        let mut signals = Signals::new([SIGTERM, SIGHUP]).map_err(failed)?;
        let quit = sender.clone();
        thread::spawn(move || {
            if signals.forever().next().is_some() {
                // Fails if the view has ended already.
                let _ = quit.send(Input::Quit);
            }
        });
        let events = sender.clone();
        client.watch_with(&root, move |event| drop(events.send(Input::Event(event))))?;
        let jobs = worker::start(client.clone(), sender.clone());
        let mut terminal = ratatui::try_init().map_err(failed)?;
        thread::spawn(move || {
            while let Ok(event) = event::read() {
                if sender.send(Input::Terminal(event)).is_err() {
                    return;
                }
            }
        });
        let mut app = App::new(root, client.transport_name(), jobs);
        let result = display::run(&mut app, &mut terminal, &inputs);
        ratatui::restore();
        result.map_err(|error| CommandError::io("cannot draw the view", error))?;
        Ok(true)
    }

    /// Returns the path of the first node, which exists.
    fn root(&self, client: &Client) -> CommandResult<String> {
        let path = match &self.path {
            Some(path) => path.clone(),
            None if client.directory("/").is_ok() => "/".to_owned(),
            None => home::path(client)?,
        };
        client.directory(&path)?;
        // Events of a relative path are relative, too.
        Ok(home::absolute(client, &path)?)
    }
}
