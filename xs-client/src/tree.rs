//! The operations on the tree, outside and inside of transactions.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use xs_proto::Permissions;

use crate::core::Scope;
use crate::deadline::Deadline;
use crate::error::Result;
use crate::link::Handle;
use crate::listing::Listing;
use crate::op::{self, Answer, Op};

/// The tree of nodes, as one [`Client`](crate::Client) sees it, or one
/// [`Transaction`](crate::Transaction).
///
/// Both give access to these operations; a function that takes a `&Tree` works with either:
///
/// ```
/// use xs_client::{Client, Result, Tree};
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
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
/// Paths are absolute, or relative to the home of the domain that the client runs in; see
/// [`Path`](xs_proto::Path). Values are bytes: nothing is added, trimmed or taken for text unless
/// asked for.
///
/// # Errors
/// All operations fail with an [`Error`](crate::Error) that names operation and path. A bad path
/// or too long a value is refused before anything is sent. Common answers of the daemon are
/// ENOENT (there is no such node), EACCES (the node's permissions do not allow it), ENOSPC, EQUOTA
/// or E2BIG (a quota is used up).
#[derive(Clone, Debug)]
pub struct Tree {
    pub(crate) handle: Arc<Handle>,
    pub(crate) scope: Scope,
    pub(crate) timeout: Option<Duration>,
}

impl Tree {
    /// The value of a node.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        self.handle.call_inlined(self.scope, &mut self.deadline(), &op::read(path))
    }

    /// The value of a node, as text.
    ///
    /// # Errors
    /// The value is not UTF-8.
    pub fn read_str(&self, path: &str) -> Result<String> {
        to_text(path, self.read(path)?)
    }

    /// The value of a node, parsed from text.
    ///
    /// # Errors
    /// The value does not parse.
    pub fn read_parsed<T: FromStr>(&self, path: &str) -> Result<T> {
        parse(path, &self.read_str(path)?)
    }

    /// Sets the value of a node. The node is created as needed, as are its parents.
    pub fn write(&self, path: &str, value: impl AsRef<[u8]>) -> Result<()> {
        self.handle.call_inlined(self.scope, &mut self.deadline(), &op::write(path, &value))
    }

    /// Sets the value of a node to what `value` is displayed as.
    pub fn write_display(&self, path: &str, value: impl Display) -> Result<()> {
        self.write(path, value.to_string())
    }

    /// Creates a node with an empty value, and its parents. Nothing happens if it exists.
    pub fn mkdir(&self, path: &str) -> Result<()> {
        self.run(&op::mkdir(path))
    }

    /// Removes a node and all below it. It is no error if there is none, as long as its parent
    /// exists.
    pub fn rm(&self, path: &str) -> Result<()> {
        self.run(&op::rm(path))
    }

    /// The names of the children of a node, in the order in which the daemon keeps them. Lists
    /// that do not fit into one message are read in parts.
    pub fn directory(&self, path: &str) -> Result<Vec<String>> {
        let mut deadline = self.deadline();
        let answer = self.handle.call(self.scope, &mut deadline, &op::directory(path));
        if !Listing::is_needed(&answer) {
            return answer;
        }
        let mut listing = Listing::new(path);
        loop {
            let part = self.handle.call(self.scope, &mut deadline, &listing.next())?;
            if let Some(names) = listing.take(part)? {
                return Ok(names);
            }
        }
    }

    /// Whether there is such a node.
    ///
    /// # Errors
    /// As for [`read`](Self::read), except that ENOENT means no. A node that may not be read is
    /// an error, not a no.
    pub fn exists(&self, path: &str) -> Result<bool> {
        exists(self.read(path))
    }

    /// The permissions of a node.
    pub fn get_perms(&self, path: &str) -> Result<Permissions> {
        self.run(&op::get_perms(path))
    }

    /// Sets the permissions of a node.
    pub fn set_perms(&self, path: &str, perms: &Permissions) -> Result<()> {
        self.run(&op::set_perms(path, perms))
    }

    /// The values of several nodes, in one round trip; each with its own error.
    pub fn read_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<Vec<u8>>> {
        self.on_each(paths, op::read)
    }

    /// The values of several nodes, in one round trip. The first error is that of the whole.
    ///
    /// ```
    /// # use xs_client::Client;
    /// # use xs_transport::mock::Xenstored;
    /// # let client = Client::over(Xenstored::new().connect(xs_proto::DomId::DOM0));
    /// client.write_many([("/vm/uuid", "1234"), ("/vm/name", "guest")]);
    /// let [uuid, name] = client.read_array(["/vm/uuid", "/vm/name"])?;
    /// assert_eq!((&uuid[..], &name[..]), (&b"1234"[..], &b"guest"[..]));
    /// # Ok::<(), xs_client::Error>(())
    /// ```
    pub fn read_array<const N: usize>(&self, paths: [&str; N]) -> Result<[Vec<u8>; N]> {
        let mut values = [const { Vec::new() }; N];
        for (place, value) in values.iter_mut().zip(self.read_many(paths)) {
            *place = value?;
        }
        Ok(values)
    }

    /// Sets the values of several nodes, in one round trip; each with its own error. All or
    /// nothing is what [transactions](crate::Client::transaction) are for.
    pub fn write_many<P: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        pairs: impl IntoIterator<Item = (P, V)>,
    ) -> Vec<Result<()>> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        self.run_all(pairs.iter().map(|(path, value)| op::write(path.as_ref(), value)))
    }

    /// Creates several nodes, in one round trip; each with its own error.
    pub fn mkdir_many<P: AsRef<str>>(&self, paths: impl IntoIterator<Item = P>) -> Vec<Result<()>> {
        self.on_each(paths, op::mkdir)
    }

    /// Removes several nodes, in one round trip; each with its own error.
    pub fn rm_many<P: AsRef<str>>(&self, paths: impl IntoIterator<Item = P>) -> Vec<Result<()>> {
        self.on_each(paths, op::rm)
    }

    /// The names of the children of several nodes, in one round trip if they all fit into one
    /// message each; each with its own error.
    pub fn directory_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<Vec<String>>> {
        let paths: Vec<_> = paths.into_iter().collect();
        let answers = self.run_all(paths.iter().map(|path| op::directory(path.as_ref())));
        let whole = |(answer, path): (Result<_>, &P)| {
            if Listing::is_needed(&answer) { self.directory(path.as_ref()) } else { answer }
        };
        answers.into_iter().zip(&paths).map(whole).collect()
    }

    /// Which of several nodes there are, in one round trip; each with its own error.
    pub fn exists_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<bool>> {
        self.read_many(paths).into_iter().map(exists).collect()
    }

    /// The permissions of several nodes, in one round trip; each with its own error.
    pub fn get_perms_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<Permissions>> {
        self.on_each(paths, op::get_perms)
    }

    /// Sets the permissions of several nodes, in one round trip; each with its own error.
    pub fn set_perms_many<'a, P: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, &'a Permissions)>,
    ) -> Vec<Result<()>> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        self.run_all(pairs.iter().map(|(path, perms)| op::set_perms(path.as_ref(), perms)))
    }

    /// Runs one operation and waits for its answer.
    pub fn run<T: Answer>(&self, op: &Op<'_, T>) -> Result<T> {
        self.handle.call(self.scope, &mut self.deadline(), op)
    }

    /// Runs several operations in one round trip. They are carried out in this order, and each
    /// has its own result.
    pub fn run_all<'a, T: Answer>(
        &self,
        ops: impl IntoIterator<Item = Op<'a, T>>,
    ) -> Vec<Result<T>> {
        let ops: Vec<_> = ops.into_iter().collect();
        self.handle.call_all(self.scope, &mut self.deadline(), &ops)
    }

    /// The same tree, as this transaction sees it.
    pub(crate) fn in_transaction(&self, scope: Scope) -> Tree {
        Tree { scope, ..self.clone() }
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout)
    }

    fn on_each<P: AsRef<str>, T: Answer>(
        &self,
        paths: impl IntoIterator<Item = P>,
        op: impl Fn(&str) -> Op<'_, T>,
    ) -> Vec<Result<T>> {
        let paths: Vec<_> = paths.into_iter().collect();
        self.run_all(paths.iter().map(|path| op(path.as_ref())))
    }
}

pub(crate) fn to_text(path: &str, value: Vec<u8>) -> Result<String> {
    String::from_utf8(value)
        .map_err(|_| op::read(path).label.unexpected("the value is not UTF-8 text"))
}

pub(crate) fn parse<T: FromStr>(path: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| {
        let wanted = std::any::type_name::<T>();
        op::read(path).label.unexpected(&format!("the value {text:?} is not a {wanted}"))
    })
}

pub(crate) fn exists<T>(value: Result<T>) -> Result<bool> {
    match value {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
