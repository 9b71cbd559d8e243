//! The watches of one client, by token.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

use xs_proto::ErrorCode;
use xs_transport::Failure;

use crate::queue::{Queue, WatchEvent};
use crate::wakers::{Ready, remember};

/// Names a watch, and is used for no other one in this process.
///
/// ```
/// use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
///
/// let token = client.watch_with("/a", |event| println!("{event:?}"))?;
/// client.unwatch(token)?;
/// # Ok::<(), xs_client::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    fn fresh() -> Self {
        // Not every architecture has an atomic number of 64 bits.
        static LAST: Mutex<u64> = Mutex::new(0);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        Token(*last)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let digits = std::str::from_utf8(bytes.strip_prefix(PREFIX.as_bytes())?).ok()?;
        u64::from_str_radix(digits, 16).ok().map(Token)
    }
}

/// Tells people who look into the daemon whose watch it is.
const PREFIX: &str = "xs-";

impl fmt::Display for Token {
    /// As it goes over the wire.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{:x}", self.0)
    }
}

/// The table of watches.
#[derive(Debug)]
pub(crate) struct Watches {
    table: BTreeMap<Token, Watched>,
    capacity: usize,
    /// Perhaps a queue is half full.
    crowded: bool,
    pub(crate) callbacks: Callbacks,
}

/// Whose callbacks are to run.
#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    /// Watches that have something for theirs.
    runnable: VecDeque<Token>,
    /// Who runs them.
    pub(crate) runner: Option<Waker>,
}

#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) path: Box<str>,
    pub(crate) depth: Option<u32>,
    taker: Taker,
    standing: Standing,
    queue: Queue,
    waker: Option<Waker>,
    /// Why no more events come.
    end: Option<End>,
}

/// Whom events go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taker {
    /// Who asks for them.
    Owner,
    /// A callback.
    Callback,
    /// A callback that is not there yet.
    Later,
}

/// What the daemon at the other end knows of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Nothing: its turn comes yet.
    New,
    /// It may know of it.
    Sent,
    /// On another connection than before it is being set again. Its owner is told once it is: a
    /// connection may be lost before that, and the daemon that is to go away was perhaps the one
    /// that took it.
    Again,
}

#[derive(Clone, Debug)]
enum End {
    Failed(Failure),
    /// It could not be set again.
    Refused(ErrorCode),
}

/// What a watch has for its owner.
#[derive(Debug)]
pub(crate) enum Next {
    Event(WatchEvent),
    /// It was removed.
    Removed,
    /// The connection is lost.
    Failed(Failure),
    /// The daemon refused to set it again on a new connection.
    Refused(ErrorCode),
}

impl Watches {
    pub(crate) fn new(capacity: usize) -> Self {
        Watches {
            table: BTreeMap::new(),
            capacity,
            crowded: false,
            callbacks: Callbacks::default(),
        }
    }

    /// Makes room for the events of a watch, before it is set: the first one may come before the
    /// reply.
    pub(crate) fn add(&mut self, path: &str, depth: Option<u32>, taker: Taker) -> Token {
        let token = Token::fresh();
        let watched = Watched {
            path: path.into(),
            depth,
            taker,
            standing: Standing::New,
            queue: Queue::new(self.capacity),
            waker: None,
            end: None,
        };
        self.table.insert(token, watched);
        token
    }

    /// The callback is there: it gets the events that wait, and all others. False if there is no
    /// such watch any more.
    pub(crate) fn call_back(&mut self, token: Token, ready: &mut Ready) -> bool {
        let Some(watched) = self.table.get_mut(&token) else {
            return false;
        };
        watched.taker = Taker::Callback;
        if self.is_runnable(token) {
            self.callbacks.run(token, ready);
        }
        true
    }

    /// The request that sets it is on its way: on another connection it has to be set again.
    pub(crate) fn sent(&mut self, token: &[u8]) {
        if let Some(watched) = Token::parse(token).and_then(|token| self.table.get_mut(&token)) {
            watched.standing = Standing::Sent;
        }
    }

    /// From here on no event of this watch is delivered.
    pub(crate) fn remove(&mut self, token: Token, ready: &mut Ready) -> Option<Watched> {
        let mut watched = self.table.remove(&token)?;
        ready.extend(watched.waker.take());
        Some(watched)
    }

    /// Likewise, and whoever runs callbacks is to drop that of this watch.
    pub(crate) fn end(&mut self, token: Token, ready: &mut Ready) {
        if self.remove(token, ready).is_some_and(|watched| watched.taker == Taker::Callback) {
            self.callbacks.run(token, ready);
        }
    }

    pub(crate) fn contains(&self, token: Token) -> bool {
        self.table.contains_key(&token)
    }

    /// Those that the daemon may know of.
    pub(crate) fn sent_tokens(&self) -> Vec<Token> {
        let sent = self.table.iter().filter(|(_, watched)| watched.standing != Standing::New);
        sent.map(|(token, _)| *token).collect()
    }

    pub(crate) fn tokens(&self) -> Vec<Token> {
        self.table.keys().copied().collect()
    }

    /// An event came. One of a watch that is removed is late, and dropped.
    pub(crate) fn deliver(&mut self, path: &str, token: &[u8], ready: &mut Ready) {
        let found =
            Token::parse(token).and_then(|token| Some((token, self.table.get_mut(&token)?)));
        let Some((token, watched)) = found else {
            return;
        };
        let was_empty = watched.queue.is_empty();
        // Its first event may come ahead of the reply.
        let is_news = watched.note_set_again() | watched.queue.push(path, &watched.path);
        if is_news {
            self.crowded |= watched.queue.is_crowded();
            watched.tell(token, was_empty, &mut self.callbacks, ready);
        }
    }

    /// A watch was set again on a new connection.
    pub(crate) fn set_again(&mut self, token: Token, ready: &mut Ready) {
        if let Some(watched) = self.table.get_mut(&token) {
            let was_empty = watched.queue.is_empty();
            if watched.note_set_again() {
                watched.tell(token, was_empty, &mut self.callbacks, ready);
            }
        }
    }

    /// Whether the owner of a watch had better take something before more is received. Who has
    /// no patience with them is not told of the same events again.
    #[cfg(feature = "futures")]
    pub(crate) fn are_crowded(&mut self, patience: bool) -> bool {
        let crowded = |watched: &Watched| watched.queue.is_crowded();
        self.crowded = self.crowded && patience && self.table.values().any(crowded);
        self.crowded
    }

    /// Whether there is something for the owner of this watch. Otherwise `waker` is remembered.
    pub(crate) fn has_next(
        &mut self,
        token: Token,
        waker: Option<&Waker>,
        ready: &mut Ready,
    ) -> bool {
        let Some(watched) = self.table.get_mut(&token) else {
            return true;
        };
        let has_next = !watched.queue.is_empty() || watched.end.is_some();
        if !has_next {
            remember(&mut watched.waker, waker, ready);
        }
        has_next
    }

    /// What comes next for the owner of this watch, if there is something.
    pub(crate) fn take_next(&mut self, token: Token) -> Option<Next> {
        let Some(watched) = self.table.get_mut(&token) else {
            return Some(Next::Removed);
        };
        if let Some(event) = watched.queue.pop() {
            return Some(Next::Event(event));
        }
        match &watched.end {
            Some(End::Failed(failure)) => Some(Next::Failed(failure.clone())),
            Some(End::Refused(code)) => Some(Next::Refused(code.clone())),
            None => None,
        }
    }

    /// The watches whose owners have something to take. A lost connection does not count: there may
    /// be another one, and if not, that is told otherwise.
    #[cfg(feature = "mio")]
    pub(crate) fn with_events(&self) -> Vec<Token> {
        let ready = |watched: &Watched| {
            let is_refused = matches!(watched.end, Some(End::Refused(_)));
            watched.taker == Taker::Owner && (!watched.queue.is_empty() || is_refused)
        };
        self.table.iter().filter(|(_, watched)| ready(watched)).map(|(token, _)| *token).collect()
    }

    /// What comes next for a callback.
    pub(crate) fn next_callback(&mut self) -> Option<(Token, Next)> {
        // One event each in turn, so that a busy watch keeps nobody waiting.
        while let Some(token) = self.callbacks.runnable.pop_front() {
            let next = match self.take_next(token) {
                // That this is the end is known when there is no other connection.
                None | Some(Next::Failed(_)) => continue,
                Some(next) => next,
            };
            if matches!(next, Next::Event(_)) && self.is_runnable(token) {
                self.callbacks.runnable.push_back(token);
            }
            return Some((token, next));
        }
        None
    }

    /// Whether a callback has something to be called with.
    fn is_runnable(&self, token: Token) -> bool {
        self.table.get(&token).is_some_and(|watched| {
            !watched.queue.is_empty() || matches!(watched.end, Some(End::Refused(_)))
        })
    }

    /// The connection is lost. What was received is still there to be taken.
    pub(crate) fn failed(&mut self, failure: &Failure, ready: &mut Ready) {
        for watched in self.table.values_mut() {
            watched.end.get_or_insert_with(|| End::Failed(failure.clone()));
        }
        self.wake_all(ready);
    }

    /// Everybody who waits is to look again.
    pub(crate) fn wake_all(&mut self, ready: &mut Ready) {
        ready.extend(self.table.values_mut().filter_map(|watched| watched.waker.take()));
        ready.extend(self.callbacks.runner.take());
    }

    #[cfg(feature = "futures")]
    /// The owner of a watch wants to know when there is another connection.
    pub(crate) fn await_reconnect(&mut self, token: Token, waker: &Waker, ready: &mut Ready) {
        if let Some(watched) = self.table.get_mut(&token) {
            remember(&mut watched.waker, Some(waker), ready);
        }
    }

    /// There is a new connection: says which watches are to be set on it.
    pub(crate) fn reconnected(&mut self, ready: &mut Ready) -> Vec<(Token, Box<str>, Option<u32>)> {
        let mut again = Vec::new();
        for (token, watched) in &mut self.table {
            if let Some(End::Refused(_)) = watched.end {
                continue;
            }
            watched.end = None;
            // Who waits has waited for a connection.
            ready.extend(watched.waker.take());
            if watched.standing != Standing::New {
                watched.standing = Standing::Again;
                again.push((*token, watched.path.clone(), watched.depth));
            }
        }
        ready.extend(self.callbacks.runner.take());
        again
    }

    /// A watch could not be set again.
    pub(crate) fn refused(&mut self, token: Token, code: ErrorCode, ready: &mut Ready) {
        if let Some(watched) = self.table.get_mut(&token) {
            watched.end = Some(End::Refused(code));
            let was_empty = watched.queue.is_empty();
            watched.tell(token, was_empty, &mut self.callbacks, ready);
        }
    }
}

impl Watched {
    /// The daemon has the watch, as is seen now. Says whether that is news for its owner.
    fn note_set_again(&mut self) -> bool {
        let again = self.standing == Standing::Again;
        if again {
            self.standing = Standing::Sent;
            self.queue.reconnected(&self.path);
        }
        again
    }

    /// There is something new for whoever takes the events.
    fn tell(
        &mut self,
        token: Token,
        was_empty: bool,
        callbacks: &mut Callbacks,
        ready: &mut Ready,
    ) {
        ready.extend(self.waker.take());
        // Otherwise it is among the runnable.
        if self.taker == Taker::Callback && was_empty {
            callbacks.run(token, ready);
        }
    }
}

impl Callbacks {
    fn run(&mut self, token: Token, ready: &mut Ready) {
        self.runnable.push_back(token);
        ready.extend(self.runner.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::EventKind;

    #[test]
    fn tokens_go_both_ways_and_are_never_used_again() {
        let mut watches = Watches::new(1);
        let first = watches.add("a", None, Taker::Owner);
        assert_eq!(Token::parse(first.to_string().as_bytes()), Some(first));
        watches.remove(first, &mut Ready::default());
        assert_ne!(watches.add("a", None, Taker::Owner), first);
        for strange in ["", "xs-", "xs-zz", "1", "xs-1 "] {
            assert_eq!(Token::parse(strange.as_bytes()), None, "{strange}");
        }
    }

    #[test]
    fn after_removal_nothing_is_delivered() {
        let mut watches = Watches::new(8);
        let token = watches.add("a", None, Taker::Owner);
        let wire = token.to_string();
        watches.deliver("a", wire.as_bytes(), &mut Ready::default());
        watches.remove(token, &mut Ready::default());
        watches.deliver("a", wire.as_bytes(), &mut Ready::default());
        assert!(matches!(watches.take_next(token), Some(Next::Removed)));
    }

    #[test]
    fn callbacks_take_turns() {
        let mut watches = Watches::new(8);
        let tokens = ["a", "b"].map(|path| watches.add(path, None, Taker::Later));
        for path in ["a", "a/1", "a/2"] {
            watches.deliver(path, tokens[0].to_string().as_bytes(), &mut Ready::default());
        }
        assert!(watches.next_callback().is_none(), "there is none yet");
        assert!(tokens.iter().all(|token| watches.call_back(*token, &mut Ready::default())));
        watches.deliver("b", tokens[1].to_string().as_bytes(), &mut Ready::default());
        let order: Vec<_> = std::iter::from_fn(|| watches.next_callback())
            .map(|(_, next)| match next {
                Next::Event(event) => event.path.to_string(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(order, ["a", "b", "a/1", "a/2"]);
    }

    #[test]
    fn a_callback_without_events_wakes_nobody() {
        let mut watches = Watches::new(8);
        let token = watches.add("a", None, Taker::Later);
        watches.callbacks.runner = Some(Waker::noop().clone());
        let mut ready = Ready::default();
        assert!(watches.call_back(token, &mut ready));
        assert!(ready.is_empty());
        watches.deliver("a", token.to_string().as_bytes(), &mut ready);
        assert_eq!(ready.len(), 1);
    }

    /// A watch on `a` that another connection is to set again.
    fn set_anew(taker: Taker) -> (Watches, Token) {
        let mut watches = Watches::new(2);
        let token = watches.add("a", None, taker);
        watches.sent(token.to_string().as_bytes());
        assert_eq!(watches.reconnected(&mut Ready::default()).len(), 1);
        (watches, token)
    }

    #[test]
    fn whether_event_or_reply_comes_first_who_waits_is_told() {
        for event_first in [true, false] {
            let (mut watches, token) = set_anew(Taker::Owner);
            let mut ready = Ready::default();
            assert!(!watches.has_next(token, Some(Waker::noop()), &mut ready));
            if event_first {
                watches.deliver("a", token.to_string().as_bytes(), &mut ready);
            } else {
                watches.set_again(token, &mut ready);
            }
            assert_eq!(ready.len(), 1, "{event_first}");
            let Some(Next::Event(event)) = watches.take_next(token) else { panic!("an event") };
            assert_eq!(event.kind, EventKind::Reconnected, "{event_first}");
        }
    }

    #[test]
    fn a_callback_is_told_of_a_refusal_once() {
        let (mut watches, token) = set_anew(Taker::Callback);
        watches.refused(token, ErrorCode::Quota, &mut Ready::default());
        assert!(matches!(watches.next_callback(), Some((_, Next::Refused(ErrorCode::Quota)))));
        assert!(watches.next_callback().is_none());
    }

    #[cfg(feature = "futures")]
    #[test]
    fn who_has_no_patience_is_not_told_of_the_same_events_again() {
        let mut watches = Watches::new(2);
        let token = watches.add("a", None, Taker::Owner);
        let deliver = |watches: &mut Watches, path| {
            watches.deliver(path, token.to_string().as_bytes(), &mut Ready::default());
        };
        deliver(&mut watches, "a");
        assert!(!watches.are_crowded(true));
        deliver(&mut watches, "a/1");
        assert!(watches.are_crowded(true) && watches.are_crowded(true));
        assert!(!watches.are_crowded(false) && !watches.are_crowded(true));
        deliver(&mut watches, "a/2");
        assert!(watches.are_crowded(true));
        while watches.take_next(token).is_some() {}
        assert!(!watches.are_crowded(true));
    }
}
