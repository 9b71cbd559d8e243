//! The operations on nodes, outside and inside of transactions.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use xs_proto::Permissions;

use crate::batch;
use crate::engine::Scope;
use crate::error::Result;
use crate::handle::Handle;
use crate::listing::{Listing, Step};
use crate::op::{self, Op};

/// The tree of nodes, as a [`Client`](crate::Client) or a [`Transaction`](crate::Transaction) sees
/// it.
///
/// Both dereference to `Tree`, so a function that takes a `&Tree` works with either:
///
/// ```
/// use xs_client::{Client, Result, Tree};
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
///
/// fn publish(tree: &Tree) -> Result<()> {
///     tree.write("/vm/name", "guest")?;
///     tree.write("/vm/cpus", 4.to_string())
/// }
///
/// publish(&client)?;
/// client.transaction(|tx| publish(tx))?;
/// assert_eq!(client.read_parsed::<u32>("/vm/cpus")?, 4);
/// # Ok::<(), xs_client::Error>(())
/// ```
///
/// The operations are those of xenstore.txt, "Database read, write and permissions operations".
/// Paths are absolute, or relative to the home of the domain in which the client runs; see
/// [`Path`](xs_proto::Path). Values are bytes: they are neither trimmed nor extended, and need not
/// be text.
///
/// # Limits
/// A path and a value in one request have at most 4095 bytes together over a socket, and 4079 over
/// the xenbus device. The daemon's quotas for guests are lower: by default, a node with its value
/// and the names of its children has at most 2048 bytes.
///
/// # Errors
/// Each operation returns an [`Error`](crate::Error) that names the operation and the path. An
/// invalid path, or a value that is too long for a message, is
/// [`Invalid`](crate::ErrorKind::Invalid), and nothing is sent. Otherwise, the daemon may refuse
/// the operation, most often with one of these [codes](crate::Error::code):
///
/// * ENOENT: the node does not exist.
/// * EACCES: the node's permissions do not allow the operation.
/// * ENOSPC, EQUOTA or E2BIG: a quota is used up.
///
/// Any operation can also fail with a timeout or a lost connection; see
/// [`ErrorKind`](crate::ErrorKind).
#[derive(Clone)]
pub struct Tree {
    pub(crate) handle: Arc<Handle>,
    pub(crate) scope: Scope,
    pub(crate) timeout: Option<Duration>,
}

impl Tree {
    /// Returns the value of a node.
    #[doc(alias = "xs_read")]
    pub fn read(&self, path: impl AsRef<str>) -> Result<Vec<u8>> {
        self.run(&op::read(path.as_ref()))
    }

    /// Returns the value of a node as text.
    ///
    /// # Errors
    /// [`ErrorKind::Unexpected`](crate::ErrorKind::Unexpected) if the value is not UTF-8.
    #[doc(alias = "xs_read")]
    pub fn read_str(&self, path: impl AsRef<str>) -> Result<String> {
        self.run(&op::read_str(path.as_ref()))
    }

    /// Returns the value of a node, parsed from text.
    ///
    /// # Errors
    /// [`ErrorKind::Unexpected`](crate::ErrorKind::Unexpected) if the value is not UTF-8, or cannot
    /// be parsed.
    pub fn read_parsed<T: FromStr>(&self, path: impl AsRef<str>) -> Result<T> {
        self.run(&op::read_parsed(path.as_ref()))
    }

    /// Returns the value of a node, or `None` if the node does not exist (ENOENT).
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// assert_eq!(client.read_opt("/a")?, None);
    /// client.write("/a", "1")?;
    /// assert_eq!(client.read_parsed_opt("/a")?, Some(1));
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    pub fn read_opt(&self, path: impl AsRef<str>) -> Result<Option<Vec<u8>>> {
        self.run(&op::read_opt(path.as_ref()))
    }

    /// Returns the value of a node as text, or `None` if the node does not exist (ENOENT).
    ///
    /// # Errors
    /// As for [`read_str`](Self::read_str), except ENOENT.
    pub fn read_str_opt(&self, path: impl AsRef<str>) -> Result<Option<String>> {
        self.run(&op::read_str_opt(path.as_ref()))
    }

    /// Returns the value of a node, parsed from text, or `None` if the node does not exist (ENOENT).
    ///
    /// # Errors
    /// As for [`read_parsed`](Self::read_parsed), except ENOENT.
    pub fn read_parsed_opt<T: FromStr>(&self, path: impl AsRef<str>) -> Result<Option<T>> {
        self.run(&op::read_parsed_opt(path.as_ref()))
    }

    /// Sets the value of a node.
    ///
    /// If the node does not exist, the daemon creates it and its missing ancestors.
    #[doc(alias = "xs_write")]
    pub fn write(&self, path: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<()> {
        self.run(&op::write(path.as_ref(), value.as_ref()))
    }

    /// Sets the value of a node to the text of `value`, as [`Display`] formats it.
    pub fn write_display(&self, path: impl AsRef<str>, value: impl Display) -> Result<()> {
        self.write(path, value.to_string())
    }

    /// Creates a node with an empty value, and its missing ancestors.
    ///
    /// If the node exists, this does nothing.
    #[doc(alias("xs_mkdir", "make_dir"))]
    pub fn mkdir(&self, path: impl AsRef<str>) -> Result<()> {
        self.run(&op::mkdir(path.as_ref()))
    }

    /// Removes a node and its descendants.
    ///
    /// If the node does not exist but its parent does, this does nothing.
    ///
    /// # Errors
    /// ENOENT if neither the node nor its parent exists; see [`rm_if_exists`](Self::rm_if_exists).
    #[doc(alias("remove", "delete", "xs_rm"))]
    pub fn rm(&self, path: impl AsRef<str>) -> Result<()> {
        self.run(&op::rm(path.as_ref()))
    }

    /// Removes a node and its descendants. If the node does not exist, this does nothing, whether or
    /// not its parent exists.
    pub fn rm_if_exists(&self, path: impl AsRef<str>) -> Result<()> {
        self.run(&op::rm_if_exists(path.as_ref()))
    }

    /// Returns the names of a node's children, in the order in which the daemon lists them.
    ///
    /// A list that is too long for one message is read in parts (DIRECTORY_PART), up to 16 MiB. If
    /// it changes meanwhile, it is read again after a short pause, until the deadline or, without a
    /// timeout, for 30 seconds.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) if a long list keeps changing while it
    /// is read. [`ErrorKind::Unexpected`](crate::ErrorKind::Unexpected) if the list exceeds 16 MiB,
    /// or a name in it is not valid.
    #[doc(alias("list", "ls", "list_directory", "xs_directory"))]
    pub fn directory(&self, path: impl AsRef<str>) -> Result<Vec<String>> {
        self.whole_directory(path.as_ref())
    }

    /// Returns the names of a node's children, or `None` if the node does not exist (ENOENT).
    ///
    /// To treat a missing node as one without children, add `.unwrap_or_default()`:
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// for device in client.directory_opt("device/vif")?.unwrap_or_default() {
    ///     println!("network device {device}");
    /// }
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`directory`](Self::directory), except ENOENT.
    pub fn directory_opt(&self, path: impl AsRef<str>) -> Result<Option<Vec<String>>> {
        op::if_found(self.whole_directory(path.as_ref()))
    }

    /// Returns whether a node exists, by reading it.
    ///
    /// # Errors
    /// As for [`read`](Self::read), except ENOENT. In particular, EACCES is an error: the client
    /// may not read the node, and it may or may not exist.
    pub fn exists(&self, path: impl AsRef<str>) -> Result<bool> {
        self.run(&op::exists(path.as_ref()))
    }

    /// Returns the permissions of a node.
    #[doc(alias("get_permissions", "get_perm", "xs_get_permissions"))]
    pub fn get_perms(&self, path: impl AsRef<str>) -> Result<Permissions> {
        self.run(&op::get_perms(path.as_ref()))
    }

    /// Sets the permissions of a node.
    ///
    /// Only the owner of the node and privileged domains may do this.
    #[doc(alias("set_permissions", "set_perm", "xs_set_permissions"))]
    pub fn set_perms(&self, path: impl AsRef<str>, perms: &Permissions) -> Result<()> {
        self.run(&op::set_perms(path.as_ref(), perms))
    }

    /// Returns the values of several nodes, each with its own error. Uses one round trip, with the
    /// exceptions of [`run_many`](Self::run_many).
    #[must_use = "each result may be an error"]
    pub fn read_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<Vec<u8>>> {
        self.on_each(paths, op::read)
    }

    /// Returns the values of several nodes, or the first error. Uses one round trip.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// client.write("/vm/uuid", "1234")?;
    /// client.write("/vm/name", "guest")?;
    /// let [uuid, name] = client.read_array(["/vm/uuid", "/vm/name"])?;
    /// assert_eq!((&uuid[..], &name[..]), (&b"1234"[..], &b"guest"[..]));
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    pub fn read_array<const N: usize>(&self, paths: [impl AsRef<str>; N]) -> Result<[Vec<u8>; N]> {
        let mut values = [const { Vec::new() }; N];
        for (slot, value) in values.iter_mut().zip(self.read_many(paths)) {
            *slot = value?;
        }
        Ok(values)
    }

    /// Sets the values of several nodes, each with its own error. Uses one round trip.
    ///
    /// Some of the nodes may be written and others not. To write all or none, use a
    /// [transaction](crate::Client::transaction).
    #[must_use = "each result may be an error"]
    pub fn write_many<P: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        pairs: impl IntoIterator<Item = (P, V)>,
    ) -> Vec<Result<()>> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        self.run_many(pairs.iter().map(|(path, value)| op::write(path.as_ref(), value)))
    }

    /// Creates several nodes, each with its own error. Uses one round trip.
    #[must_use = "each result may be an error"]
    pub fn mkdir_many<P: AsRef<str>>(&self, paths: impl IntoIterator<Item = P>) -> Vec<Result<()>> {
        self.on_each(paths, op::mkdir)
    }

    /// Removes several nodes, each with its own error. Uses one round trip.
    #[must_use = "each result may be an error"]
    pub fn rm_many<P: AsRef<str>>(&self, paths: impl IntoIterator<Item = P>) -> Vec<Result<()>> {
        self.on_each(paths, op::rm)
    }

    /// Returns the names of the children of several nodes, each with its own error. Uses one round
    /// trip, and further ones for lists that are too long for one message.
    #[must_use = "each result may be an error"]
    pub fn directory_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<Vec<String>>> {
        let paths: Vec<_> = paths.into_iter().collect();
        let answers = self.run_many(paths.iter().map(|path| op::directory(path.as_ref())));
        let whole = |(answer, path): (Result<_>, &P)| {
            if Listing::is_needed(&answer) { self.whole_directory(path.as_ref()) } else { answer }
        };
        answers.into_iter().zip(&paths).map(whole).collect()
    }

    /// Returns whether several nodes exist, each with its own error. Uses one round trip.
    #[must_use = "each result may be an error"]
    pub fn exists_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<bool>> {
        self.on_each(paths, op::exists)
    }

    /// Returns the permissions of several nodes, each with its own error. Uses one round trip.
    #[must_use = "each result may be an error"]
    pub fn get_perms_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<Permissions>> {
        self.on_each(paths, op::get_perms)
    }

    /// Sets the permissions of several nodes, each with its own error. Uses one round trip.
    #[must_use = "each result may be an error"]
    pub fn set_perms_many<'a, P: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, &'a Permissions)>,
    ) -> Vec<Result<()>> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        self.run_many(pairs.iter().map(|(path, perms)| op::set_perms(path.as_ref(), perms)))
    }

    /// Returns the values of several nodes, or the first error, which names its path. Uses one round
    /// trip.
    pub fn read_all<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Vec<Vec<u8>>> {
        self.read_many(paths).into_iter().collect()
    }

    /// Sets the values of several nodes, and returns the first error, which names its path. Uses one
    /// round trip.
    ///
    /// All requests are sent, even if one of them fails. To write all nodes or none, use a
    /// [transaction](crate::Client::transaction). This method is not related to
    /// [`std::io::Write::write_all`].
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// client.write_all([("/vm/uuid", "1234"), ("/vm/name", "guest")])?;
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    pub fn write_all<P: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        pairs: impl IntoIterator<Item = (P, V)>,
    ) -> Result<()> {
        self.write_many(pairs).into_iter().collect()
    }

    /// Creates several nodes, and returns the first error, which names its path. Uses one round
    /// trip. All requests are sent, even if one of them fails.
    ///
    /// Like [`mkdir`](Self::mkdir), this also creates missing ancestors.
    pub fn mkdir_all<P: AsRef<str>>(&self, paths: impl IntoIterator<Item = P>) -> Result<()> {
        self.mkdir_many(paths).into_iter().collect()
    }

    /// Removes several nodes, and returns the first error, which names its path. Uses one round
    /// trip. All requests are sent, even if one of them fails.
    ///
    /// Like [`rm`](Self::rm), this also removes their descendants.
    pub fn rm_all<P: AsRef<str>>(&self, paths: impl IntoIterator<Item = P>) -> Result<()> {
        self.rm_many(paths).into_iter().collect()
    }

    /// Runs an operation of the module [`op`] and waits for its result.
    pub fn run<T>(&self, op: &Op<'_, T>) -> Result<T> {
        op.run(&self.handle, self.scope, self.deadline()).map(|(_, value)| value)
    }

    /// Runs several operations and returns their results, in the same order.
    ///
    /// The requests are in flight together, up to 1024 at a time, and the daemon executes them in
    /// this order. Each 1024 operations take a round trip. Over the xenbus device, which takes one
    /// request at a time, each operation takes one. The timeout applies to all operations together.
    #[must_use = "each result may be an error"]
    pub fn run_many<'a, T>(&self, ops: impl IntoIterator<Item = Op<'a, T>>) -> Vec<Result<T>> {
        let ops: Vec<_> = ops.into_iter().collect();
        batch::run_many(&self.handle, self.scope, self.deadline(), &ops)
    }

    /// Returns the same tree as the transaction in `scope` sees it.
    pub(crate) fn in_transaction(&self, scope: Scope) -> Tree {
        Tree { scope, ..self.clone() }
    }

    /// Runs an operation within a deadline that may cover several operations.
    pub(crate) fn run_until<T>(&self, deadline: Option<Instant>, op: &Op<'_, T>) -> Result<T> {
        op.run(&self.handle, self.scope, deadline).map(|(_, value)| value)
    }

    /// Returns when an operation that begins now times out. `None` if it never does: without a
    /// timeout, or with one that overflows the clock.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout?)
    }

    /// Returns when an operation of a task that begins now times out.
    pub(crate) fn task_deadline(&self) -> Option<Instant> {
        let timeout = self.timeout?;
        self.handle.task_now().checked_add(timeout)
    }

    fn whole_directory(&self, path: &str) -> Result<Vec<String>> {
        let deadline = self.deadline();
        let answer = self.run_until(deadline, &op::directory(path));
        if !Listing::is_needed(&answer) {
            return answer;
        }
        let mut listing = Listing::new(path, deadline, Instant::now());
        loop {
            let part = self.run_until(deadline, &listing.next())?;
            match listing.take(part, Instant::now())? {
                Step::Continue => {}
                Step::RestartAt(at) => {
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                }
                Step::Complete(names) => return Ok(names),
            }
        }
    }

    fn on_each<P: AsRef<str>, T>(
        &self,
        paths: impl IntoIterator<Item = P>,
        op: impl Fn(&str) -> Op<'_, T>,
    ) -> Vec<Result<T>> {
        let paths: Vec<_> = paths.into_iter().collect();
        self.run_many(paths.iter().map(|path| op(path.as_ref())))
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("connection", &self.handle)
            .field("transaction", &self.scope.tx_id)
            .field("timeout", &self.timeout)
            .finish()
    }
}
