//! The operations on nodes, as futures.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::task::Context;
use std::time::Instant;

use xs_proto::Permissions;

use super::waiting::{Waiting, sleep_until};
use crate::engine::{RoomTicket, Waiter};
use crate::error::Result;
use crate::listing::{Listing, Step};
use crate::op::{self, Op};
use crate::pending::{Pending, StartingTask};
use crate::tree;

/// The tree of nodes, with the operations of [`xs_client::Tree`](crate::Tree) as futures.
#[derive(Clone)]
pub struct Tree(pub(super) tree::Tree);

impl Tree {
    /// See [`read`](crate::Tree::read).
    pub async fn read(&self, path: impl AsRef<str>) -> Result<Vec<u8>> {
        self.run(&op::read(path.as_ref())).await
    }

    /// See [`read_str`](crate::Tree::read_str).
    pub async fn read_str(&self, path: impl AsRef<str>) -> Result<String> {
        self.run(&op::read_str(path.as_ref())).await
    }

    /// See [`read_parsed`](crate::Tree::read_parsed).
    pub async fn read_parsed<T: FromStr>(&self, path: impl AsRef<str>) -> Result<T> {
        self.run(&op::read_parsed(path.as_ref())).await
    }

    /// See [`read_opt`](crate::Tree::read_opt).
    pub async fn read_opt(&self, path: impl AsRef<str>) -> Result<Option<Vec<u8>>> {
        self.run(&op::read_opt(path.as_ref())).await
    }

    /// See [`read_str_opt`](crate::Tree::read_str_opt).
    pub async fn read_str_opt(&self, path: impl AsRef<str>) -> Result<Option<String>> {
        self.run(&op::read_str_opt(path.as_ref())).await
    }

    /// See [`read_parsed_opt`](crate::Tree::read_parsed_opt).
    pub async fn read_parsed_opt<T: FromStr>(&self, path: impl AsRef<str>) -> Result<Option<T>> {
        self.run(&op::read_parsed_opt(path.as_ref())).await
    }

    /// See [`write`](crate::Tree::write).
    pub async fn write(&self, path: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<()> {
        self.run(&op::write(path.as_ref(), value.as_ref())).await
    }

    /// See [`write_display`](crate::Tree::write_display).
    pub async fn write_display(&self, path: impl AsRef<str>, value: impl Display) -> Result<()> {
        self.write(path, value.to_string()).await
    }

    /// See [`mkdir`](crate::Tree::mkdir).
    pub async fn mkdir(&self, path: impl AsRef<str>) -> Result<()> {
        self.run(&op::mkdir(path.as_ref())).await
    }

    /// See [`rm`](crate::Tree::rm).
    pub async fn rm(&self, path: impl AsRef<str>) -> Result<()> {
        self.run(&op::rm(path.as_ref())).await
    }

    /// See [`rm_if_exists`](crate::Tree::rm_if_exists).
    pub async fn rm_if_exists(&self, path: impl AsRef<str>) -> Result<()> {
        self.run(&op::rm_if_exists(path.as_ref())).await
    }

    /// See [`directory`](crate::Tree::directory).
    pub async fn directory(&self, path: impl AsRef<str>) -> Result<Vec<String>> {
        self.whole_directory(path.as_ref()).await
    }

    /// See [`directory_opt`](crate::Tree::directory_opt).
    pub async fn directory_opt(&self, path: impl AsRef<str>) -> Result<Option<Vec<String>>> {
        op::if_found(self.whole_directory(path.as_ref()).await)
    }

    /// See [`exists`](crate::Tree::exists).
    pub async fn exists(&self, path: impl AsRef<str>) -> Result<bool> {
        self.run(&op::exists(path.as_ref())).await
    }

    /// See [`get_perms`](crate::Tree::get_perms).
    pub async fn get_perms(&self, path: impl AsRef<str>) -> Result<Permissions> {
        self.run(&op::get_perms(path.as_ref())).await
    }

    /// See [`set_perms`](crate::Tree::set_perms).
    pub async fn set_perms(&self, path: impl AsRef<str>, perms: &Permissions) -> Result<()> {
        self.run(&op::set_perms(path.as_ref(), perms)).await
    }

    /// Runs one operation.
    pub async fn run<T>(&self, op: &Op<'_, T>) -> Result<T> {
        self.run_until(op, self.0.task_deadline()).await
    }

    /// Runs an operation within a deadline that may cover several operations.
    pub(super) async fn run_until<T>(
        &self,
        op: &Op<'_, T>,
        deadline: Option<Instant>,
    ) -> Result<T> {
        self.start(op, deadline).await?.await
    }

    /// Sends the request as soon as there is a connection and a free slot in the in-flight table.
    pub(super) async fn start<T>(
        &self,
        op: &Op<'_, T>,
        deadline: Option<Instant>,
    ) -> Result<Pending<T>> {
        let mut waiting = Waiting::new(&self.0.handle);
        let poll = |cx: &mut Context<'_>, ticket: &mut Option<RoomTicket>, has_timed_out| {
            let waiter = &Waiter::Task(cx.waker().clone());
            self.0.poll_start(op, deadline, Some(StartingTask { waiter, ticket, has_timed_out }))
        };
        waiting.until(deadline, poll).await
    }

    /// Runs several operations in one round trip; see [`run_many`](crate::Tree::run_many).
    #[must_use = "each result may be an error"]
    pub async fn run_many<'a, T>(
        &self,
        ops: impl IntoIterator<Item = Op<'a, T>>,
    ) -> Vec<Result<T>> {
        let ops: Vec<_> = ops.into_iter().collect();
        self.run_each(&ops).await
    }

    /// See [`read_many`](crate::Tree::read_many).
    #[must_use = "each result may be an error"]
    pub async fn read_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<Vec<u8>>> {
        self.on_each(paths, op::read).await
    }

    /// See [`read_array`](crate::Tree::read_array).
    pub async fn read_array<const N: usize>(
        &self,
        paths: [impl AsRef<str>; N],
    ) -> Result<[Vec<u8>; N]> {
        let mut values = [const { Vec::new() }; N];
        for (slot, value) in values.iter_mut().zip(self.read_many(paths).await) {
            *slot = value?;
        }
        Ok(values)
    }

    /// See [`write_many`](crate::Tree::write_many).
    #[must_use = "each result may be an error"]
    pub async fn write_many<P: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        pairs: impl IntoIterator<Item = (P, V)>,
    ) -> Vec<Result<()>> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let ops: Vec<_> =
            pairs.iter().map(|(path, value)| op::write(path.as_ref(), value)).collect();
        self.run_each(&ops).await
    }

    /// See [`mkdir_many`](crate::Tree::mkdir_many).
    #[must_use = "each result may be an error"]
    pub async fn mkdir_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<()>> {
        self.on_each(paths, op::mkdir).await
    }

    /// See [`rm_many`](crate::Tree::rm_many).
    #[must_use = "each result may be an error"]
    pub async fn rm_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<()>> {
        self.on_each(paths, op::rm).await
    }

    /// See [`directory_many`](crate::Tree::directory_many).
    #[must_use = "each result may be an error"]
    pub async fn directory_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<Vec<String>>> {
        let paths: Vec<_> = paths.into_iter().collect();
        let ops: Vec<_> = paths.iter().map(|path| op::directory(path.as_ref())).collect();
        let mut answers = self.run_each(&ops).await;
        for (answer, path) in answers.iter_mut().zip(&paths) {
            if Listing::is_needed(answer) {
                *answer = self.whole_directory(path.as_ref()).await;
            }
        }
        answers
    }

    /// See [`exists_many`](crate::Tree::exists_many).
    #[must_use = "each result may be an error"]
    pub async fn exists_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<bool>> {
        self.on_each(paths, op::exists).await
    }

    /// See [`get_perms_many`](crate::Tree::get_perms_many).
    #[must_use = "each result may be an error"]
    pub async fn get_perms_many<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Vec<Result<Permissions>> {
        self.on_each(paths, op::get_perms).await
    }

    /// See [`read_all`](crate::Tree::read_all).
    pub async fn read_all<P: AsRef<str>>(
        &self,
        paths: impl IntoIterator<Item = P>,
    ) -> Result<Vec<Vec<u8>>> {
        self.read_many(paths).await.into_iter().collect()
    }

    /// See [`write_all`](crate::Tree::write_all).
    pub async fn write_all<P: AsRef<str>, V: AsRef<[u8]>>(
        &self,
        pairs: impl IntoIterator<Item = (P, V)>,
    ) -> Result<()> {
        self.write_many(pairs).await.into_iter().collect()
    }

    /// See [`mkdir_all`](crate::Tree::mkdir_all).
    pub async fn mkdir_all<P: AsRef<str>>(&self, paths: impl IntoIterator<Item = P>) -> Result<()> {
        self.mkdir_many(paths).await.into_iter().collect()
    }

    /// See [`rm_all`](crate::Tree::rm_all).
    pub async fn rm_all<P: AsRef<str>>(&self, paths: impl IntoIterator<Item = P>) -> Result<()> {
        self.rm_many(paths).await.into_iter().collect()
    }

    /// See [`set_perms_many`](crate::Tree::set_perms_many).
    #[must_use = "each result may be an error"]
    pub async fn set_perms_many<'a, P: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (P, &'a Permissions)>,
    ) -> Vec<Result<()>> {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let ops: Vec<_> =
            pairs.iter().map(|(path, perms)| op::set_perms(path.as_ref(), perms)).collect();
        self.run_each(&ops).await
    }

    async fn whole_directory(&self, path: &str) -> Result<Vec<String>> {
        let deadline = self.0.task_deadline();
        let answer = self.run_until(&op::directory(path), deadline).await;
        if !Listing::is_needed(&answer) {
            return answer;
        }
        let mut listing = Listing::new(path, deadline, self.0.handle.task_now());
        loop {
            let part = self.run_until(&listing.next(), deadline).await?;
            match listing.take(part, self.0.handle.task_now())? {
                Step::Continue => {}
                Step::RestartAt(at) => sleep_until(&self.0.handle, at).await,
                Step::Complete(names) => return Ok(names),
            }
        }
    }

    async fn on_each<P: AsRef<str>, T>(
        &self,
        paths: impl IntoIterator<Item = P>,
        op: fn(&str) -> Op<'_, T>,
    ) -> Vec<Result<T>> {
        let paths: Vec<_> = paths.into_iter().collect();
        let ops: Vec<_> = paths.iter().map(|path| op(path.as_ref())).collect();
        self.run_each(&ops).await
    }

    pub(super) async fn run_each<T>(&self, ops: &[Op<'_, T>]) -> Vec<Result<T>> {
        let deadline = self.0.task_deadline();
        let mut started = Vec::with_capacity(ops.len());
        for op in ops {
            started.push(self.start(op, deadline).await);
        }
        let mut results = Vec::with_capacity(ops.len());
        for pending in started {
            results.push(match pending {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            });
        }
        results
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
