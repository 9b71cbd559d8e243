//! The state of the view, and its reactions to keys, events and answers.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use xs_client::{DomId, EventKind, WatchEvent};

use super::Input;
use super::model::Model;
use super::stats::{Stats, domid_of};
use super::worker::{Answer, Job};
use crate::error::describe;
use crate::escape::{Form, unescape};
use crate::quotas::Number;
use crate::terminal;

pub(super) struct App {
    pub(super) root: String,
    pub(super) daemon: String,
    pub(super) model: Model,
    pub(super) stats: Stats,
    /// The path of the selected node, and its row.
    pub(super) selected: String,
    pub(super) row: usize,
    /// The first row on the screen.
    pub(super) offset: usize,
    /// The number of rows that fit on the screen.
    pub(super) page: usize,
    pub(super) mode: Mode,
    pub(super) status: String,
    pub(super) shows_perms: bool,
    pub(super) form: Form,
    pub(super) has_color: bool,
    pub(super) usage: Option<Usage>,
    jobs: Sender<Job>,
    /// The nodes to read again once the current job is complete.
    pending: BTreeSet<String>,
    is_refreshing: bool,
    usage_asked: Option<(DomId, Instant)>,
    /// Whether the first event of the watch, which reports no change, is still to come.
    is_first_event: bool,
}

/// The mode of the view, which determines the meaning of keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Browse,
    /// The user types a filter.
    Filter(String),
    /// The user types the value of the node, in escaped form.
    Edit {
        path: String,
        text: String,
    },
}

/// A domain's use of its quotas.
#[derive(Debug)]
pub(super) struct Usage {
    pub(super) domid: DomId,
    pub(super) used: Vec<Number>,
    pub(super) limits: Vec<Number>,
}

/// The shortest time between two requests for the use of a domain's quotas.
const USAGE_INTERVAL: Duration = Duration::from_secs(3);

/// The maximum number of nodes that one job reads again.
const REFRESH_AT_ONCE: usize = 256;

impl App {
    pub(super) fn new(root: String, daemon: String, jobs: Sender<Job>) -> Self {
        let mut app = App {
            model: Model::new(root.clone()),
            stats: Stats::default(),
            selected: root.clone(),
            row: 0,
            offset: 0,
            page: 1,
            mode: Mode::Browse,
            status: String::new(),
            shows_perms: false,
            form: terminal::form(),
            has_color: terminal::use_color(&io::stdout()),
            usage: None,
            jobs,
            pending: BTreeSet::new(),
            is_refreshing: false,
            usage_asked: None,
            is_first_event: true,
            root,
            daemon,
        };
        app.load(&app.root.clone(), 1);
        app
    }

    /// Handles an input. Returns false if the view ends.
    pub(super) fn handle(&mut self, input: Input) -> bool {
        match input {
            Input::Quit => return false,
            Input::Terminal(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                return self.key(key);
            }
            Input::Terminal(_) => {}
            Input::Event(Ok(event)) => self.event(&event),
            Input::Event(Err(error)) => self.status = describe(&error),
            Input::Answer(answer) => self.answer(answer),
        }
        true
    }

    fn event(&mut self, event: &WatchEvent) {
        if event.kind != EventKind::Fired {
            let message = match event.kind {
                EventKind::Overflow => "too many events: all nodes are read again",
                _ => "connected again: all nodes are read again",
            };
            self.status = message.to_owned();
            self.reload();
            self.is_first_event = event.kind == EventKind::Reconnected;
            return;
        }
        if std::mem::take(&mut self.is_first_event) && *event.path == *self.root {
            return;
        }
        let now = Instant::now();
        self.stats.count(&event.path, now);
        if self.model.mark(&event.path, now) {
            self.refresh(event.path.to_string());
        }
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Loaded(nodes) => nodes.into_iter().for_each(|node| self.model.insert(node)),
            Answer::Refreshed(nodes) => {
                self.is_refreshing = false;
                let now = Instant::now();
                for (path, node) in nodes {
                    match node {
                        Some(node) => {
                            let is_new = self.model.get(&path).is_none();
                            self.model.insert(node);
                            if is_new {
                                self.model.link(&path, now);
                            }
                        }
                        None => self.model.remove(&path),
                    }
                }
                self.send_refresh();
            }
            Answer::Written { path, error } => {
                self.status = match error {
                    None => format!("{path} is written"),
                    Some(error) => error,
                };
            }
            Answer::Usage { domid, used, limits } => {
                self.usage = Some(Usage { domid, used, limits });
            }
            Answer::Failed(error) => self.status = error,
        }
    }

    /// Handles a key. Returns false if the view ends.
    fn key(&mut self, key: KeyEvent) -> bool {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return false;
        }
        match std::mem::replace(&mut self.mode, Mode::Browse) {
            Mode::Browse => return self.browse(key.code),
            Mode::Filter(mut text) => match typed(&mut text, key.code) {
                Typed::More => {
                    self.model.set_filter(&text);
                    self.mode = Mode::Filter(text);
                }
                Typed::Done => {}
                Typed::Cancel => self.model.set_filter(""),
            },
            Mode::Edit { path, mut text } => match typed(&mut text, key.code) {
                Typed::More => self.mode = Mode::Edit { path, text },
                Typed::Done => self.send(Job::Write { path, value: unescape(text.as_bytes()) }),
                Typed::Cancel => {}
            },
        }
        true
    }

    fn browse(&mut self, key: KeyCode) -> bool {
        self.status.clear();
        let last = self.model.rows().len().saturating_sub(1);
        match key {
            KeyCode::Char('q') => return false,
            KeyCode::Up | KeyCode::Char('k') => self.go_to(self.row.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.go_to(self.row + 1),
            KeyCode::PageUp => self.go_to(self.row.saturating_sub(self.page)),
            KeyCode::PageDown => self.go_to(self.row + self.page),
            KeyCode::Home | KeyCode::Char('g') => self.go_to(0),
            KeyCode::End | KeyCode::Char('G') => self.go_to(last),
            KeyCode::Right | KeyCode::Char('l') => self.open(),
            KeyCode::Left | KeyCode::Char('h') => self.close(),
            KeyCode::Enter | KeyCode::Char(' ') => match self.model.is_open(&self.selected) {
                true => drop(self.model.close(&self.selected.clone())),
                false => self.open(),
            },
            KeyCode::Char('/') => {
                self.mode = Mode::Filter(self.model.filter().to_owned());
                self.load(&self.root.clone(), usize::MAX);
            }
            KeyCode::Esc => self.model.set_filter(""),
            KeyCode::Char('p') => self.shows_perms = !self.shows_perms,
            KeyCode::Char('r') => self.reload(),
            KeyCode::Char('e') => match self.model.get(&self.selected).map(|entry| &entry.value) {
                Some(Ok(value)) => {
                    let text = self.form.text(value);
                    self.mode = Mode::Edit { path: self.selected.clone(), text };
                }
                Some(Err(error)) => self.status = error.clone(),
                None => {}
            },
            _ => {}
        }
        true
    }

    fn go_to(&mut self, row: usize) {
        let rows = self.model.rows();
        let row = row.min(rows.len().saturating_sub(1));
        if let Some(found) = rows.get(row) {
            self.selected.clone_from(&found.path);
            self.row = row;
        }
    }

    fn open(&mut self) {
        let path = self.selected.clone();
        if self.model.open(&path) {
            self.load(&path, 1);
        }
    }

    fn close(&mut self) {
        let path = self.selected.clone();
        if !self.model.close(&path) {
            if let Some((parent, _)) = self.model.parent(&path) {
                self.selected = parent;
            }
        }
    }

    /// Finds the row of the selected node, and keeps it on the screen. If the node is gone, the
    /// node in its row is selected.
    pub(super) fn select(&mut self) {
        let rows = self.model.rows();
        if rows.get(self.row).is_none_or(|row| row.path != self.selected) {
            match rows.iter().position(|row| row.path == self.selected) {
                Some(row) => self.row = row,
                None => {
                    self.row = self.row.min(rows.len().saturating_sub(1));
                    if let Some(row) = rows.get(self.row) {
                        self.selected.clone_from(&row.path);
                    }
                }
            }
        }
    }

    /// Scrolls so that the selected row is among the `page` rows on the screen.
    pub(super) fn scroll(&mut self, page: usize) {
        self.page = page.max(1);
        let first = (self.row + 1).saturating_sub(self.page);
        self.offset = self.offset.clamp(first, self.row.max(first));
    }

    fn reload(&mut self) {
        for path in self.model.open_paths() {
            self.load(&path, 1);
        }
    }

    fn load(&mut self, path: &str, levels: usize) {
        // Notes that the children are about to be read.
        self.model.open(path);
        self.send(Job::Load { path: path.to_owned(), levels });
    }

    fn refresh(&mut self, path: String) {
        self.pending.insert(path);
        self.send_refresh();
    }

    fn send_refresh(&mut self) {
        if self.is_refreshing || self.pending.is_empty() {
            return;
        }
        self.is_refreshing = true;
        let mut paths = Vec::new();
        while paths.len() < REFRESH_AT_ONCE {
            let Some(path) = self.pending.pop_first() else { break };
            paths.push(path);
        }
        self.send(Job::Refresh(paths));
    }

    /// Asks for the quotas of the domain of the selected node.
    pub(super) fn ask_for_usage(&mut self) {
        let owner = || Some(self.model.get(&self.selected)?.perms.as_ref()?.owner().domid);
        let Some(domid) = domid_of(&self.selected).map(DomId::new).or_else(owner) else { return };
        let now = Instant::now();
        let is_due = self
            .usage_asked
            .is_none_or(|(asked, at)| asked != domid || now.duration_since(at) >= USAGE_INTERVAL);
        if is_due {
            self.usage_asked = Some((domid, now));
            self.send(Job::Usage(domid));
        }
    }

    fn send(&mut self, job: Job) {
        if self.jobs.send(job).is_err() {
            self.status = "the connection to the daemon has ended".to_owned();
        }
    }
}

enum Typed {
    More,
    Done,
    Cancel,
}

/// Applies a key to a line of text.
fn typed(text: &mut String, key: KeyCode) -> Typed {
    match key {
        KeyCode::Enter => return Typed::Done,
        KeyCode::Esc => return Typed::Cancel,
        KeyCode::Backspace => drop(text.pop()),
        KeyCode::Char(character) => text.push(character),
        _ => {}
    }
    Typed::More
}
