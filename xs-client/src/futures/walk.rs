//! Walks, as streams.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::tree::Tree;
use crate::error::Result;
use crate::op::OfNode;
use crate::traversal::{Incomplete, Node, Query, Step, TIMES_AHEAD, Traversal};

/// A stream of the nodes of a subtree, returned by [`Tree::walk`]; see
/// [`xs_client::Walk`](crate::Walk).
///
/// ```
/// # use xs_client::futures::Tree;
/// # async fn sum(tree: &Tree) -> xs_client::Result<usize> {
/// let mut walk = tree.walk("/vm").with_values();
/// let mut sum = 0;
/// while let Some(node) = walk.next().await {
///     sum += node.value.expect("was asked for")?.len();
/// }
/// # Ok(sum)
/// # }
/// ```
#[must_use = "a walk requests nothing unless it is polled"]
pub struct Walk {
    tree: Tree,
    traversal: Traversal,
    /// The queries in flight, oldest first.
    in_flight: VecDeque<Asked>,
    /// The node whose children are read in parts, and the future that reads them.
    listing: Option<(Incomplete, InFlight<Result<Vec<String>>>)>,
}

type InFlight<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A query in flight.
enum Asked {
    Pending(InFlight<Answered>),
    Ready(Answered),
}

type Answered = (Query, Vec<Result<OfNode>>);

impl Tree {
    /// Returns a stream of a node and all its descendants; see [`walk`](crate::Tree::walk).
    pub fn walk(&self, path: impl AsRef<str>) -> Walk {
        Walk {
            tree: self.clone(),
            traversal: Traversal::new(&self.0, path.as_ref()),
            in_flight: VecDeque::new(),
            listing: None,
        }
    }
}

impl Walk {
    /// See [`with_values`](crate::Walk::with_values).
    pub fn with_values(mut self) -> Self {
        self.traversal.want_values();
        self
    }

    /// See [`with_perms`](crate::Walk::with_perms).
    pub fn with_perms(mut self) -> Self {
        self.traversal.want_perms();
        self
    }

    /// See [`max_depth`](crate::Walk::max_depth).
    pub fn max_depth(mut self, levels: usize) -> Self {
        self.traversal.limit_depth(levels);
        self
    }

    /// Returns the next node, or `None` at the end.
    pub async fn next(&mut self) -> Option<Node> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Requests the next nodes, unless enough queries are in flight.
    fn request(&mut self, cx: &mut Context<'_>) {
        while self.in_flight.len() < TIMES_AHEAD {
            let Some(query) = self.traversal.query() else { return };
            let tree = self.tree.clone();
            let answered = async move {
                let answers = tree.run_each(&query.ops()).await;
                (query, answers)
            };
            let mut asked = Asked::Pending(Box::pin(answered));
            // The first poll sends the requests.
            asked.poll_ready(cx);
            self.in_flight.push_back(asked);
        }
    }

    /// Takes the answers to the oldest query. Returns false if there is none.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(first) = self.in_flight.front_mut() else {
            return Poll::Ready(false);
        };
        if !first.poll_ready(cx) {
            return Poll::Pending;
        }
        if let Some(Asked::Ready((query, answers))) = self.in_flight.pop_front() {
            self.traversal.answer(query, answers);
        }
        Poll::Ready(true)
    }
}

impl Asked {
    /// Returns whether the query was answered.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> bool {
        if let Asked::Pending(future) = self {
            match future.as_mut().poll(cx) {
                Poll::Ready(answered) => *self = Asked::Ready(answered),
                Poll::Pending => return false,
            }
        }
        true
    }
}

impl Stream for Walk {
    type Item = Node;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Node>> {
        let walk = self.get_mut();
        loop {
            if let Some((_, children)) = &mut walk.listing {
                let children = ready!(children.as_mut().poll(cx));
                let listed = walk.listing.take();
                let node = listed.and_then(|(node, _)| walk.traversal.complete(node, children));
                if node.is_some() {
                    return Poll::Ready(node);
                }
            }
            match walk.traversal.next() {
                Step::Node(node) => return Poll::Ready(Some(node)),
                Step::List(incomplete) => {
                    let (tree, path) = (walk.tree.clone(), incomplete.path().to_owned());
                    let children = Box::pin(async move { tree.directory(&path).await });
                    walk.listing = Some((incomplete, children));
                }
                Step::Ask => {
                    walk.request(cx);
                    if !ready!(walk.poll_answers(cx)) {
                        return Poll::Ready(None);
                    }
                    walk.request(cx);
                }
                Step::End => return Poll::Ready(None),
            }
        }
    }
}

impl fmt::Debug for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Walk").field(&self.traversal).finish()
    }
}
