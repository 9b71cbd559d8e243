//! Operations as values.
//!
//! Most programs do not need this module: the methods of [`Tree`](crate::Tree) and
//! [`Client`](crate::Client) create an operation and run it. An [`Op`] is useful to
//! [run several operations](crate::Tree::run_many) in one round trip, or to
//! [start one](crate::Tree::start) and collect its result later.
//!
//! Each function creates an operation. Its documentation says what the operation does and returns.

mod decode;
mod label;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use xs_proto::{
    DomId, Features, Path, PathError, Permissions, Quota, Request, RequestError, Strings, TxId,
};

use crate::engine::{CallId, Engine, Scope};
use crate::error::{ErrorKind, Invalid, Result};
use crate::trace;

pub(crate) use self::decode::{OfNode, Part, if_found};
pub(crate) use self::label::{Decode, Label};

/// An operation whose result is a `T`, created by a function of this module.
///
/// Nothing is sent, and no invalid argument is reported, before the operation is
/// [run](crate::Tree::run) or [started](crate::Tree::start).
///
/// ```
/// use xs_client::{Client, op};
/// # use xs_transport::mock::Xenstored;
/// # let client = Client::from_transport(Xenstored::new().connect(xs_proto::DomId::DOM0));
///
/// client.write("/a", "1")?;
/// let values = client.run_many([op::read("/a"), op::read("/b")]);
/// assert_eq!(values[0].as_deref().unwrap(), b"1");
/// assert!(values[1].as_ref().unwrap_err().is_not_found());
/// # Ok::<(), xs_client::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "an operation does nothing until it is run or started"]
pub struct Op<'a, T> {
    pub(crate) label: Label<'a>,
    /// An invalid argument is reported when the operation runs, so that each operation of a batch
    /// has its own result.
    request: std::result::Result<Request<'a>, Invalid>,
    pub(crate) decode: Decode<T>,
}

impl<'a, T> Op<'a, T> {
    pub(crate) fn new(name: &'static str, request: Request<'a>, decode: Decode<T>) -> Self {
        Op { label: Label { name, path: None }, request: Ok(request), decode }
    }

    fn on(
        name: &'static str,
        path: &'a str,
        request: impl FnOnce(Path<'a>) -> Request<'a>,
        decode: Decode<T>,
    ) -> Self {
        let label = Label { name, path: Some(path) };
        let request = Path::new(path).map(request).map_err(Invalid::from);
        Op { label, request, decode }
    }

    /// Returns the request, or the error for an invalid argument.
    pub(crate) fn request(&self) -> Result<&Request<'a>> {
        self.request.as_ref().map_err(|invalid| self.label.error(invalid.clone()))
    }

    /// Returns the operation with another type of result, which all operations on nodes share, so
    /// that they can be in one batch.
    pub(crate) fn of_node(&self) -> Op<'a, OfNode> {
        Op { label: self.label, request: self.request.clone(), decode: decode::of_node }
    }

    /// Converts the result of [`of_node`](Self::of_node) to the result of this operation.
    pub(crate) fn result(&self, answer: Result<OfNode>) -> Result<T> {
        (self.decode)(self.label, answer.map(|OfNode(reply)| reply))
    }

    /// Runs the operation and waits for its result. Also returns the call that has carried it.
    pub(crate) fn run(
        &self,
        engine: &Engine,
        scope: Scope,
        deadline: Option<Instant>,
    ) -> Result<(CallId, T)> {
        let start = trace::Start::now();
        let request = self.request()?;
        let mut guard = engine.lock();
        let submitted = guard.wait_to_submit(deadline, scope, request);
        let call = submitted.map_err(|kind| self.label.error(kind))?;
        let result = guard.wait_for_result(deadline, call);
        drop(guard);
        Ok((call, self.label.finish(self.decode, start, scope, call, result)?))
    }
}

/// Returns the value of a node; see [`Tree::read`](crate::Tree::read).
pub fn read<'a>(path: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, Vec<u8>> {
    Op::on("read", path.as_ref(), Request::Read, decode::value)
}

/// Returns the value of a node as text; see [`Tree::read_str`](crate::Tree::read_str).
pub fn read_str<'a>(path: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, String> {
    Op::on("read", path.as_ref(), Request::Read, decode::value_text)
}

/// Returns the value of a node, parsed from text; see
/// [`Tree::read_parsed`](crate::Tree::read_parsed).
pub fn read_parsed<'a, T: FromStr>(path: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, T> {
    Op::on("read", path.as_ref(), Request::Read, decode::parsed)
}

/// Returns the value of a node, or `None` if the node does not exist; see
/// [`Tree::read_opt`](crate::Tree::read_opt).
pub fn read_opt<'a>(path: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, Option<Vec<u8>>> {
    Op::on("read", path.as_ref(), Request::Read, decode::value_opt)
}

/// Returns the value of a node as text, or `None` if the node does not exist; see
/// [`Tree::read_str_opt`](crate::Tree::read_str_opt).
pub fn read_str_opt<'a>(path: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, Option<String>> {
    Op::on("read", path.as_ref(), Request::Read, decode::value_text_opt)
}

/// Returns the value of a node, parsed from text, or `None` if the node does not exist; see
/// [`Tree::read_parsed_opt`](crate::Tree::read_parsed_opt).
pub fn read_parsed_opt<'a, T: FromStr>(path: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, Option<T>> {
    Op::on("read", path.as_ref(), Request::Read, decode::parsed_opt)
}

/// Returns whether a node exists, by reading it; see [`Tree::exists`](crate::Tree::exists).
pub fn exists<'a>(path: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, bool> {
    Op::on("read", path.as_ref(), Request::Read, decode::exists)
}

/// Sets the value of a node, and creates the node and its ancestors if necessary; see
/// [`Tree::write`](crate::Tree::write).
pub fn write<'a>(
    path: &'a (impl AsRef<str> + ?Sized),
    value: &'a (impl AsRef<[u8]> + ?Sized),
) -> Op<'a, ()> {
    let value = value.as_ref();
    Op::on("write", path.as_ref(), |path| Request::Write { path, value }, decode::done)
}

/// Creates a node with an empty value, and its ancestors if necessary. An existing node is
/// unchanged; see [`Tree::mkdir`](crate::Tree::mkdir).
pub fn mkdir<'a>(path: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, ()> {
    Op::on("mkdir", path.as_ref(), Request::Mkdir, decode::done)
}

/// Removes a node and its descendants; see [`Tree::rm`](crate::Tree::rm).
pub fn rm<'a>(path: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, ()> {
    Op::on("rm", path.as_ref(), Request::Rm, decode::done)
}

/// Removes a node and its descendants, if the node exists; see
/// [`Tree::rm_if_exists`](crate::Tree::rm_if_exists).
pub fn rm_if_exists<'a>(path: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, ()> {
    Op::on("rm", path.as_ref(), Request::Rm, decode::done_opt)
}

/// Returns the names of a node's children if they fit into one message.
///
/// If they do not, the C daemon answers E2BIG. [`Tree::directory`](crate::Tree::directory) also
/// reads longer lists.
pub fn directory<'a>(path: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, Vec<String>> {
    Op::on("directory", path.as_ref(), Request::Directory, decode::children)
}

pub(crate) fn directory_part(path: &str, offset: u32) -> Op<'_, Part> {
    Op::on("directory", path, |path| Request::DirectoryPart { path, offset }, decode::part)
}

/// Returns the permissions of a node; see [`Tree::get_perms`](crate::Tree::get_perms).
pub fn get_perms<'a>(path: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, Permissions> {
    Op::on("get_perms", path.as_ref(), Request::GetPerms, decode::permissions)
}

/// Sets the permissions of a node; see [`Tree::set_perms`](crate::Tree::set_perms).
pub fn set_perms<'a>(path: &'a (impl AsRef<str> + ?Sized), perms: &'a Permissions) -> Op<'a, ()> {
    Op::on(
        "set_perms",
        path.as_ref(),
        |path| Request::SetPerms { path, perms: Cow::Borrowed(perms) },
        decode::done,
    )
}

pub(crate) fn watch<'a>(path: &'a str, token: &'a [u8], depth: Option<u32>) -> Op<'a, ()> {
    Op::on("watch", path, |path| Request::Watch { path, token, depth }, decode::done)
}

pub(crate) fn unwatch<'a>(path: &'a str, token: &'a [u8]) -> Op<'a, ()> {
    Op::on("unwatch", path, |path| Request::Unwatch { path, token }, decode::done)
}

pub(crate) fn transaction_start() -> Op<'static, TxId> {
    Op::new("transaction_start", Request::TransactionStart, decode::transaction)
}

pub(crate) fn transaction_end(commit: bool) -> Op<'static, ()> {
    let name = if commit { "commit" } else { "abort" };
    Op::new(name, Request::TransactionEnd { commit }, decode::done)
}

/// Connects the daemon to a new domain; see [`Client::introduce`](crate::Client::introduce).
pub fn introduce(domid: impl Into<DomId>, gfn: u64, evtchn: u32) -> Op<'static, ()> {
    Op::new("introduce", Request::Introduce { domid: domid.into(), gfn, evtchn }, decode::done)
}

/// Disconnects the daemon from a domain; see [`Client::release`](crate::Client::release).
pub fn release(domid: impl Into<DomId>) -> Op<'static, ()> {
    Op::new("release", Request::Release(domid.into()), decode::done)
}

/// Tells the daemon that a domain which has shut down runs again; see
/// [`Client::resume`](crate::Client::resume).
pub fn resume(domid: impl Into<DomId>) -> Op<'static, ()> {
    Op::new("resume", Request::Resume(domid.into()), decode::done)
}

/// Gives `domid` the access rights of `target`; see
/// [`Client::set_target`](crate::Client::set_target).
pub fn set_target(domid: impl Into<DomId>, target: impl Into<DomId>) -> Op<'static, ()> {
    let (domid, target) = (domid.into(), target.into());
    Op::new("set_target", Request::SetTarget { domid, target }, decode::done)
}

/// Returns the home of a domain; see
/// [`Client::get_domain_path`](crate::Client::get_domain_path).
pub fn get_domain_path(domid: impl Into<DomId>) -> Op<'static, String> {
    Op::new("get_domain_path", Request::GetDomainPath(domid.into()), decode::text)
}

/// Returns whether the daemon is connected to a domain; see
/// [`Client::is_domain_introduced`](crate::Client::is_domain_introduced).
pub fn is_domain_introduced(domid: impl Into<DomId>) -> Op<'static, bool> {
    Op::new("is_domain_introduced", Request::IsDomainIntroduced(domid.into()), decode::boolean)
}

/// Removes all watches and aborts all transactions of the connection.
pub(crate) fn reset_watches() -> Op<'static, ()> {
    Op::new("reset_watches", Request::ResetWatches, decode::done)
}

/// Sends a command with its parameters to the daemon; see
/// [`Client::control`](crate::Client::control).
pub fn control<S: AsRef<[u8]>>(words: impl IntoIterator<Item = S>) -> Op<'static, String> {
    let request = match Strings::from_list(words) {
        // oxenstored does not answer a request without a payload.
        Ok(words) if words.is_empty() => Err(Invalid::NoCommand),
        Ok(words) => Ok(Request::Control(words)),
        Err(error) => Err(Invalid::Request(error)),
    };
    Op { label: Label { name: "control", path: None }, request, decode: decode::text }
}

/// Returns the features of the daemon.
pub(crate) fn get_server_feature() -> Op<'static, Features> {
    Op::new("get_feature", Request::GetFeature { domid: None }, decode::features)
}

/// Returns the features that the daemon offers to a domain; see
/// [`Client::get_domain_features`](crate::Client::get_domain_features).
pub fn get_feature(domid: impl Into<DomId>) -> Op<'static, Features> {
    Op::new("get_feature", Request::GetFeature { domid: Some(domid.into()) }, decode::features)
}

/// Sets the features that the daemon offers to a domain; see
/// [`Client::set_domain_features`](crate::Client::set_domain_features).
pub fn set_feature(domid: impl Into<DomId>, features: Features) -> Op<'static, ()> {
    Op::new("set_feature", Request::SetFeature { domid: domid.into(), features }, decode::done)
}

/// Returns the quotas.
pub(crate) fn quotas() -> Op<'static, Vec<Quota>> {
    Op::new("get_quota", Request::GetQuota { domid: None, quota: None }, decode::quotas)
}

/// Returns the value of a quota for one domain, or with `None` for new domains; see
/// [`Client::get_quota`](crate::Client::get_quota).
pub fn get_quota<'a>(domid: Option<DomId>, quota: &'a (impl AsRef<str> + ?Sized)) -> Op<'a, u32> {
    let quota = quota.as_ref();
    Op::new("get_quota", Request::GetQuota { domid, quota: Some(quota) }, decode::quota)
}

/// Sets the value of a quota for one domain, or with `None` for new domains; see
/// [`Client::set_quota`](crate::Client::set_quota).
pub fn set_quota<'a>(
    domid: Option<DomId>,
    quota: &'a (impl AsRef<str> + ?Sized),
    value: u32,
) -> Op<'a, ()> {
    let quota = quota.as_ref();
    Op::new("set_quota", Request::SetQuota { domid, quota, value }, decode::done)
}

impl From<Invalid> for ErrorKind {
    fn from(invalid: Invalid) -> Self {
        ErrorKind::Invalid(invalid)
    }
}

impl From<PathError> for Invalid {
    fn from(error: PathError) -> Self {
        Invalid::Path(error)
    }
}

impl From<RequestError> for Invalid {
    fn from(error: RequestError) -> Self {
        Invalid::Request(error)
    }
}

impl<T> fmt::Debug for Op<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Op")
            .field("name", &self.label.name)
            .field("path", &self.label.path)
            .field("invalid", &self.request.as_ref().err())
            .finish()
    }
}
