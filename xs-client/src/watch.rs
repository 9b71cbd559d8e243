//! Watches: to be told when something changes.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::core::{Leftover, Scope};
use crate::deadline::{Deadline, earlier};
use crate::error::{Error, ErrorKind, Result};
use crate::link::{Awaited, Handle};
use crate::op::{self, Op};
use crate::pace::Pace;
use crate::queue::WatchEvent;
use crate::reconnect::Attempt;
use crate::tree::Tree;
use crate::watches::{Next, Taker, Token};

/// A watch on a node and all below it, whose events are taken one by one.
///
/// The first event comes as soon as the watch is set, so that a loop over the events starts with
/// the present state. Events may come without a reason, and equal ones that wait to be taken
/// coalesce; see [`WatchEvent`] and [`EventKind`](crate::EventKind). Dropping the watch ends it.
///
/// ```
/// # use xs_client::Client;
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
/// let mut watch = client.watch("/a")?;
/// assert_eq!(&*watch.wait()?.path, "/a");
///
/// client.write("/a/b", "changed")?;
/// assert_eq!(&*watch.wait()?.path, "/a/b");
/// assert!(watch.try_next()?.is_none());
/// # Ok::<(), xs_client::Error>(())
/// ```
///
/// It is also an iterator, which blocks for each event, and ends after an error, or when the watch
/// is removed from elsewhere.
///
/// Somebody has to receive events from the daemon: this is done by whoever waits for anything on
/// this client. oxenstored stalls everybody when some thousand events are not received. A program
/// that sets watches and then does something else for long had better use
/// [callbacks](Client::watch_with).
#[derive(Debug)]
pub struct Watch {
    /// That of the client that has set it.
    tree: Tree,
    path: Box<str>,
    token: Token,
    /// An iterator has told of the loss.
    over: bool,
    pace: Pace,
}

impl Client {
    /// Sets a watch on a node, which need not exist, or on a special path such as
    /// `@releaseDomain`.
    ///
    /// # Errors
    /// E2BIG, ENOSPC or EQUOTA: the domain has too many watches.
    pub fn watch(&self, path: &str) -> Result<Watch> {
        self.set_watch(path, None)
    }

    /// Sets a watch that fires only for the node and `depth` levels below it.
    ///
    /// # Errors
    /// As for [`watch`](Self::watch). Daemons without the feature WATCHDEPTH answer EINVAL; the
    /// xenbus device ignores the depth in silence.
    pub fn watch_depth(&self, path: &str, depth: u32) -> Result<Watch> {
        self.set_watch(path, Some(depth))
    }

    /// Sets a watch whose events are given to `callback`, on a background thread that starts with
    /// the first such watch and runs until [`watch_stop`](Self::watch_stop). One callback runs at
    /// a time. It may use the client, and remove its own watch. It may be called before this
    /// returns, and must not wait for what the caller does then: if this fails, it waits until the
    /// callback is not running.
    ///
    /// If the connection is lost and no other is [to be made](crate::Builder::reconnect), the
    /// callback is called a last time, with the error. If it panics, it is not called again. It is
    /// kept, with all that it holds, until its watch is removed or the client ends; a callback that
    /// holds a clone of the client keeps it from ending.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// use std::sync::mpsc;
    ///
    /// let (sender, events) = mpsc::channel();
    /// client.watch_with("/a", move |event| sender.send(event).unwrap())?;
    /// assert_eq!(&*events.recv().unwrap()?.path, "/a");
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`watch`](Self::watch), or the thread cannot be started.
    pub fn watch_with(
        &self,
        path: &str,
        callback: impl FnMut(Result<WatchEvent>) + Send + 'static,
    ) -> Result<Token> {
        let mut deadline = self.deadline();
        let link = &**self.handle;
        // The thread comes first: nothing has to be undone if there can be none.
        link.background
            .start(link)
            .map_err(|error| Error::new("watch", Some(path), ErrorKind::System(error)))?;
        let mut setting = Setting::new(&self.handle, path, None, Taker::Later);
        setting.run(&mut deadline)?;
        // Only now: what fails calls nobody. Events wait until then.
        link.background
            .add(setting.token, path, Box::new(callback))
            .map_err(|failure| Error::new("watch", Some(path), failure))?;
        let token = setting.done();
        let mut guard = link.drive.lock();
        let core = &mut *guard;
        let kept = core.books.watches.call_back(token, &mut core.books.ready);
        drop(link.wake_ready(guard));
        if !kept {
            // Another thread has removed all watches meanwhile.
            link.background.remove(token);
        }
        Ok(token)
    }

    /// Ends a watch. When this returns, not one more event of it is delivered, and its callback
    /// is not running, unless it is the callback itself that asks. It is no error if there is no
    /// such watch.
    pub fn unwatch(&self, token: Token) -> Result<()> {
        unwatch(&self.handle, token, self.deadline().at())
    }

    /// Ends all watches of this client.
    pub fn unwatch_all(&self) -> Result<()> {
        let deadline = self.deadline().at();
        let tokens = self.handle.drive.lock().books.watches.tokens();
        // All of them, whatever becomes of one.
        let mut result = Ok(());
        for token in tokens {
            result = result.and(unwatch(&self.handle, token, deadline));
        }
        result
    }

    /// Stops the background thread; only futures that [rely on it](crate::futures::Client::on_thread)
    /// keep it. No callback runs when this returns, unless it is the callback itself that asks. The
    /// watches with callbacks stay set, and their events are kept; setting another one starts the
    /// thread again. All else works without it.
    pub fn watch_stop(&self) {
        self.handle.background.pause(&self.handle);
    }

    /// Waits until the value of a node meets a condition, and returns it: `None` if there is no
    /// such node and the condition likes that.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// # client.write("/state", "4")?;
    /// use std::time::Duration;
    ///
    /// let second = Duration::from_secs(1);
    /// client.wait_for("/state", second, |value| value == Some(b"4"))?;
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] after `timeout`. Any error of reading the node, except ENOENT.
    pub fn wait_for(
        &self,
        path: &str,
        timeout: impl Into<Option<Duration>>,
        mut condition: impl FnMut(Option<&[u8]>) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        // All this has one deadline, which is a point in time from the start.
        let mut deadline = Deadline::from(self.with_timeout(timeout).deadline().at());
        let mut setting = Setting::new(&self.handle, path, None, Taker::Owner);
        setting.run(&mut deadline)?;
        let mut watch = Watch::new(self, path, setting.done());
        loop {
            if watch.next_until(deadline.at())?.is_none() {
                return Err(Error::new("wait_for", Some(path), ErrorKind::TimedOut));
            }
            let value = match self.handle.call(Scope::NONE, &mut deadline, &op::read(path)) {
                Ok(value) => Some(value),
                Err(error) if error.is_not_found() => None,
                // The next event says that there is another connection.
                Err(error) if error.is_lost() && self.handle.reconnects() => continue,
                Err(error) => return Err(error),
            };
            if condition(value.as_deref()) {
                return Ok(value);
            }
        }
    }

    fn set_watch(&self, path: &str, depth: Option<u32>) -> Result<Watch> {
        let mut setting = Setting::new(&self.handle, path, depth, Taker::Owner);
        setting.run(&mut self.deadline())?;
        Ok(Watch::new(self, path, setting.done()))
    }

    /// Drops the callbacks of watches that are gone.
    pub(crate) fn forget_callbacks(&self) {
        for token in self.handle.background.tokens() {
            if !self.handle.drive.lock().books.watches.contains(token) {
                self.handle.background.remove(token);
            }
        }
    }
}

impl Watch {
    pub(crate) fn new(client: &Client, path: &str, token: Token) -> Self {
        Watch {
            tree: (**client).clone(),
            path: path.into(),
            token,
            over: false,
            pace: Pace::default(),
        }
    }

    /// The path that is watched, as it was given.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What [`Client::unwatch`] takes.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Waits for the next event, for as long as it takes.
    ///
    /// # Errors
    /// The connection is lost and no other is [to be made](crate::Builder::reconnect), or the watch
    /// was removed from elsewhere.
    pub fn wait(&mut self) -> Result<WatchEvent> {
        loop {
            if let Some(event) = self.next_until(None)? {
                return Ok(event);
            }
        }
    }

    /// Waits for the next event; `None` if there is none within `timeout`, or no connection on
    /// which one could come.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<WatchEvent>> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    /// Waits for the next event until a point in time; for ever if there is none. `None` as of
    /// [`next_timeout`](Self::next_timeout).
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<WatchEvent>> {
        let link = &self.tree.handle;
        let mut deadline = Deadline::from(deadline);
        let mut guard = link.drive.lock();
        if self.token.look(&mut guard, None).is_none() {
            if let Some(until) = self.pace.pause(Instant::now()) {
                guard = link.keep_away(guard, earlier(Some(until), deadline.at()));
            }
        }
        loop {
            let (again, waited) = link.wait(guard, &mut deadline, self.token);
            guard = again;
            let next =
                waited.map(|()| guard.books.watches.take_next(self.token).unwrap_or(Next::Removed));
            guard = link.leave(guard);
            if let Some(Next::Failed(_)) = next {
                let (again, reconnected) =
                    link.reconnect(guard, deadline.at(), |_| ControlFlow::Continue(None));
                guard = again;
                if reconnected.is_ok() {
                    continue;
                }
                if link.reconnects() && !guard.closed {
                    return Ok(None);
                }
            }
            drop(guard);
            return match next {
                Some(next) => self.outcome(next).map(Some),
                None => Ok(None),
            };
        }
    }

    /// The next event, if one is here already or can be received without waiting. If the client
    /// [reconnects](crate::Builder::reconnect), a lost connection means one attempt to make
    /// another, when it is time for one; until there is one, there is nothing.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn try_next(&mut self) -> Result<Option<WatchEvent>> {
        let link = &self.tree.handle;
        let mut guard = link.drive.lock();
        let mut next = guard.books.watches.take_next(self.token);
        if next.is_none() {
            guard = link.receive_now(guard);
            next = guard.books.watches.take_next(self.token);
        }
        if let Some(Next::Failed(_)) = next {
            let (again, attempt) = link.try_reconnect(guard);
            guard = again;
            if !matches!(attempt, Attempt::Never) {
                next = None;
            }
        }
        drop(guard);
        next.map(|next| self.outcome(next)).transpose()
    }

    /// Ends the watch, and tells whether the daemon agreed; within the timeout of the client that
    /// has set it.
    pub fn remove(self) -> Result<()> {
        unwatch(&self.tree.handle, self.token, self.tree.deadline().at())
    }

    pub(crate) fn outcome(&self, next: Next) -> Result<WatchEvent> {
        let removed = || Err(Error::new("watch", Some(&self.path), ErrorKind::WatchRemoved));
        next.into_result(Some(&self.path)).unwrap_or_else(removed)
    }
}

impl Next {
    /// What the owner of the watch gets to see; nothing if it was removed in good order.
    pub(crate) fn into_result(self, path: Option<&str>) -> Option<Result<WatchEvent>> {
        let kind = match self {
            Next::Event(event) => return Some(Ok(event)),
            Next::Removed => return None,
            Next::Failed(failure) => ErrorKind::Lost(failure),
            Next::Refused(code) => ErrorKind::Refused(code),
        };
        Some(Err(Error::new("watch", path, kind)))
    }
}

impl Iterator for Watch {
    type Item = Result<WatchEvent>;

    fn next(&mut self) -> Option<Result<WatchEvent>> {
        if self.over {
            return None;
        }
        let next = self.wait();
        self.over = next.is_err();
        match next {
            Err(error) if matches!(error.kind(), ErrorKind::WatchRemoved) => None,
            next => Some(next),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(Removal::new(&self.tree.handle, self.token));
    }
}

/// A watch on its way: unless it arrives, nothing of it stays behind.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    handle: &'a Arc<Handle>,
    path: &'a str,
    pub(crate) token: Token,
    depth: Option<u32>,
    /// Whether the daemon may know of it.
    sent: bool,
    /// On another connection it was set once more.
    session: u64,
    done: bool,
}

impl<'a> Setting<'a> {
    pub(crate) fn new(
        handle: &'a Arc<Handle>,
        path: &'a str,
        depth: Option<u32>,
        taker: Taker,
    ) -> Self {
        let mut guard = handle.drive.lock();
        let (session, token) = (guard.session(), guard.books.watches.add(path, depth, taker));
        drop(guard);
        Setting { handle, path, token, depth, sent: true, session, done: false }
    }

    /// The request that sets it, given the token as text.
    pub(crate) fn op<'b>(&self, token: &'b str) -> Op<'b, ()>
    where
        'a: 'b,
    {
        op::watch(self.path, token.as_bytes(), self.depth)
    }

    /// Takes note of what became of the request.
    ///
    /// # Errors
    /// Those of the request, or the watch was removed before it was set.
    pub(crate) fn answered(&mut self, answer: Result<()>) -> Result<()> {
        // Unless it was refused, here or there, the daemon may know of it.
        self.sent = !matches!(
            answer.as_ref().map_err(Error::kind),
            Err(ErrorKind::Invalid(_) | ErrorKind::Refused(_))
        );
        answer?;
        let mut guard = self.handle.drive.lock();
        if guard.books.watches.contains(self.token) {
            return Ok(());
        }
        guard.take_back(Leftover::Watch { path: self.path.into(), token: self.token });
        self.handle.flush(guard);
        Err(Error::new("watch", Some(self.path), ErrorKind::WatchRemoved))
    }

    fn run(&mut self, deadline: &mut Deadline) -> Result<()> {
        let token = self.token.to_string();
        let answer = self.handle.call(Scope::NONE, deadline, &self.op(&token));
        self.answered(answer)
    }

    pub(crate) fn done(mut self) -> Token {
        self.done = true;
        self.token
    }
}

impl Drop for Setting<'_> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if self.sent || self.handle.drive.lock().session() != self.session {
            drop(Removal::new(self.handle, self.token));
        } else {
            forget(self.handle, self.token);
        }
    }
}

/// Takes a watch out of the books: nothing of it is delivered any more.
fn forget(handle: &Handle, token: Token) -> Option<Box<str>> {
    let mut guard = handle.drive.lock();
    let core = &mut *guard;
    let watched = core.books.watches.remove(token, &mut core.books.ready);
    drop(handle.wake_ready(guard));
    handle.background.remove(token);
    watched.map(|watched| watched.path)
}

/// A watch that is out of the books, and that the daemon is to forget, too: it is told in any case.
#[derive(Debug)]
pub(crate) struct Removal<'a> {
    handle: &'a Handle,
    path: Box<str>,
    token: Token,
    /// On another connection it is not set again.
    session: u64,
    told: bool,
}

impl<'a> Removal<'a> {
    /// Nothing if there is no such watch.
    pub(crate) fn new(handle: &'a Handle, token: Token) -> Option<Self> {
        let session = handle.drive.lock().session();
        let path = forget(handle, token)?;
        Some(Removal { handle, path, token, session, told: false })
    }

    /// The request that tells the daemon, given the token as text.
    pub(crate) fn op<'b>(&'b self, token: &'b str) -> Op<'b, ()> {
        op::unwatch(&self.path, token.as_bytes())
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// Takes note of what became of the request.
    ///
    /// # Errors
    /// Those of the request, unless the watch has gone with its connection.
    pub(crate) fn answered(mut self, answer: Result<()>) -> Result<()> {
        self.told = answer.as_ref().map_or_else(|error| error.code().is_some(), |()| true);
        match answer {
            Err(error)
                if error.is_not_found() && self.handle.drive.lock().session() != self.session =>
            {
                Ok(())
            }
            answer => answer,
        }
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        if !self.told {
            let mut guard = self.handle.drive.lock();
            guard.take_back(Leftover::Watch { path: self.path.clone(), token: self.token });
            self.handle.flush(guard);
        }
    }
}

/// Ends a watch and waits until the daemon has confirmed it.
fn unwatch(handle: &Handle, token: Token, deadline: Option<Instant>) -> Result<()> {
    let Some(removal) = Removal::new(handle, token) else {
        return Ok(());
    };
    let token = removal.token().to_string();
    let answer = handle.call(Scope::NONE, &mut deadline.into(), &removal.op(&token));
    removal.answered(answer)
}
