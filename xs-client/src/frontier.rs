//! The nodes of a walk that have been listed but not returned.

use std::collections::VecDeque;

/// The part of a tree ahead of a walk.
///
/// A node is *listed* when its parent has named it, then *requested*, and then *answered* with a
/// `T`. The children of an answered node may be requested before the walk returns the node. Each
/// step takes constant time per node.
#[derive(Debug)]
pub(crate) struct Frontier<T> {
    /// The start of the walk, until it is requested.
    start: Option<String>,
    /// All lists of siblings. Unused entries are in `free`.
    lists: Vec<Siblings<T>>,
    free: Vec<usize>,
    /// The lists of the last node returned, of its ancestors, and of its children.
    stack: Vec<usize>,
    /// The first list, in the order of the walk, that has nodes without an answer. The others
    /// follow by [`Siblings::next`].
    first: Option<usize>,
    /// The memory that the lists in `stack` use for names, in bytes.
    names: usize,
    /// The memory that answered nodes and the names of their children use, in bytes.
    ahead: usize,
}

/// The children of one node. The first ones are answered, the next ones requested, and the rest
/// only listed.
#[derive(Debug)]
struct Siblings<T> {
    /// The path of the parent with a slash at its end. Empty for the start of the walk.
    prefix: String,
    /// The names, each followed by a NUL.
    names: String,
    /// The number of bytes of `names` that belong to requested nodes.
    requested: usize,
    /// The number of nodes that are requested and not answered.
    in_flight: usize,
    /// The nodes that are answered and not returned.
    answered: VecDeque<Answered<T>>,
    previous: Option<usize>,
    next: Option<usize>,
}

#[derive(Debug)]
struct Answered<T> {
    path: String,
    answer: T,
    size: usize,
    children: Option<usize>,
}

/// A node to request.
#[derive(Debug)]
pub(crate) struct Spot {
    pub(crate) path: String,
    siblings: usize,
}

/// The result of [`Frontier::pop`].
#[derive(Debug)]
pub(crate) enum Next<T> {
    /// The next node in the order of the walk.
    Node {
        path: String,
        /// The number of levels below the start.
        depth: usize,
        answer: T,
        /// The children are already in the frontier: the answer named them.
        has_children: bool,
    },
    /// The next node has not been answered, and perhaps not been requested.
    Unanswered,
    /// No node is left.
    End,
}

/// The limit on the memory for names, in bytes: several lists of the largest size.
pub(crate) const MAX_NAMES: usize = 1 << 26;

/// The memory for answers, in bytes, from which on only the next node is requested.
const FULL: usize = 1 << 23;

/// An estimate of the memory that an answered node uses besides its path and its answer.
const OVERHEAD: usize = 512;

impl<T> Frontier<T> {
    pub(crate) fn new(start: String) -> Self {
        let mut frontier = Frontier {
            start: Some(start),
            lists: Vec::new(),
            free: Vec::new(),
            stack: Vec::new(),
            first: None,
            names: 0,
            ahead: 0,
        };
        let top = frontier.insert(Siblings::new(String::new(), String::new()), None);
        frontier.stack.push(top);
        frontier
    }

    /// Returns up to `count` nodes to request, in the order of the walk. While the answers use much
    /// memory, returns at most the next node.
    pub(crate) fn request(&mut self, count: usize) -> Vec<Spot> {
        let mut spots = Vec::new();
        if let (Some(path), Some(&siblings)) = (self.start.take(), self.stack.first()) {
            self.lists[siblings].in_flight += 1;
            spots.push(Spot { path, siblings });
            return spots;
        }
        let count = match self.ahead < FULL {
            true => count,
            false => usize::from(self.stack.last().is_some_and(|&top| self.lists[top].is_idle())),
        };
        let mut next = self.first;
        while let Some(siblings) = next {
            let list = &mut self.lists[siblings];
            let missing = count - spots.len();
            spots.extend(list.request().take(missing).map(|path| Spot { path, siblings }));
            next = list.next.filter(|_| spots.len() < count);
        }
        spots
    }

    /// Takes the answer for a requested node, its size in bytes, and the names of the node's
    /// children if they are known, each followed by a NUL. Nodes are answered in the order in which
    /// they were requested.
    pub(crate) fn answer(&mut self, spot: Spot, answer: T, size: usize, names: Option<String>) {
        let Spot { path, siblings } = spot;
        let mut size = size + path.len() + OVERHEAD;
        let mut children = None;
        if let Some(names) = names.filter(|names| !names.is_empty()) {
            let list = Siblings::new(prefix(&path), names);
            let with_list = self.names + self.ahead + list.size();
            if self.ahead < FULL && with_list <= MAX_NAMES {
                size += list.size();
                children = Some(self.insert(list, Some(siblings)));
            }
        }
        self.ahead += size;
        let list = &mut self.lists[siblings];
        list.in_flight -= 1;
        list.answered.push_back(Answered { path, answer, size, children });
        if list.in_flight == 0 && list.is_requested() {
            self.unlink(siblings);
        }
    }

    /// Removes the next node of the walk and returns it, if it is answered.
    pub(crate) fn pop(&mut self) -> Next<T> {
        while let Some(&top) = self.stack.last() {
            let list = &mut self.lists[top];
            if let Some(Answered { path, answer, size, children }) = list.answered.pop_front() {
                self.ahead -= size;
                let depth = self.stack.len() - 1;
                if let Some(children) = children {
                    self.names += self.lists[children].size();
                    self.stack.push(children);
                }
                return Next::Node { path, depth, answer, has_children: children.is_some() };
            }
            if self.start.is_some() || list.in_flight > 0 || !list.is_requested() {
                return Next::Unanswered;
            }
            self.names -= list.size();
            *list = Siblings::new(String::new(), String::new());
            self.free.push(top);
            self.stack.pop();
        }
        Next::End
    }

    /// Adds the children of the node that [`pop`](Self::pop) returned last. Returns false and adds
    /// none if the names would use more than [`MAX_NAMES`] bytes.
    pub(crate) fn push_children(&mut self, path: &str, names: &[String]) -> bool {
        if names.is_empty() {
            return true;
        }
        let mut joined = String::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for name in names {
            joined.push_str(name);
            joined.push('\0');
        }
        let list = Siblings::new(prefix(path), joined);
        if self.names + self.ahead + list.size() > MAX_NAMES {
            return false;
        }
        self.names += list.size();
        // All other nodes that are not requested come after the children of the current one.
        let children = self.insert(list, self.first);
        self.stack.push(children);
        true
    }

    /// Adds a list, and links it before another one.
    fn insert(&mut self, mut list: Siblings<T>, before: Option<usize>) -> usize {
        list.next = before;
        list.previous = before.and_then(|before| self.lists[before].previous);
        let previous = list.previous;
        let index = match self.free.pop() {
            Some(index) => {
                self.lists[index] = list;
                index
            }
            None => {
                self.lists.push(list);
                self.lists.len() - 1
            }
        };
        if let Some(before) = before {
            self.lists[before].previous = Some(index);
        }
        self.link(previous, Some(index));
        index
    }

    fn unlink(&mut self, index: usize) {
        let list = &mut self.lists[index];
        let (previous, next) = (list.previous.take(), list.next.take());
        if let Some(next) = next {
            self.lists[next].previous = previous;
        }
        self.link(previous, next);
    }

    /// Sets the list that follows `previous`.
    fn link(&mut self, previous: Option<usize>, next: Option<usize>) {
        match previous {
            Some(previous) => self.lists[previous].next = next,
            None => self.first = next,
        }
    }
}

impl<T> Siblings<T> {
    fn new(prefix: String, names: String) -> Self {
        Siblings {
            prefix,
            names,
            requested: 0,
            in_flight: 0,
            answered: VecDeque::new(),
            previous: None,
            next: None,
        }
    }

    fn size(&self) -> usize {
        self.prefix.len() + self.names.len()
    }

    /// Returns whether all nodes of the list have been requested.
    fn is_requested(&self) -> bool {
        self.requested == self.names.len()
    }

    /// Returns whether the list has neither answered nodes nor any in flight.
    fn is_idle(&self) -> bool {
        self.in_flight == 0 && self.answered.is_empty()
    }

    /// Returns the paths of the nodes that are not requested yet. Each then counts as in flight.
    fn request(&mut self) -> impl Iterator<Item = String> {
        std::iter::from_fn(|| {
            let (name, _) = self.names.get(self.requested..)?.split_once('\0')?;
            let path = [&*self.prefix, name].concat();
            self.requested += name.len() + 1;
            self.in_flight += 1;
            Some(path)
        })
    }
}

/// Returns the part of the paths of a node's children before their names.
fn prefix(path: &str) -> String {
    if path.ends_with('/') { path.to_owned() } else { format!("{path}/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The children of a node as `answer` takes them.
    fn names(count: usize, len: usize) -> String {
        (0..count).map(|at| format!("{at:0len$}\0")).collect()
    }

    fn paths(spots: &[Spot]) -> Vec<&str> {
        spots.iter().map(|spot| &*spot.path).collect()
    }

    /// Requests up to `count` nodes and answers each with these children. Returns their paths.
    fn answer(frontier: &mut Frontier<()>, count: usize, size: usize, names: &str) -> Vec<String> {
        let spots = frontier.request(count);
        let paths = spots.iter().map(|spot| spot.path.clone()).collect();
        spots.into_iter().for_each(|spot| frontier.answer(spot, (), size, Some(names.to_owned())));
        paths
    }

    #[track_caller]
    fn pop(frontier: &mut Frontier<()>) -> (String, usize) {
        match frontier.pop() {
            Next::Node { path, depth, .. } => (path, depth),
            other => panic!("the next node has not been answered: {other:?}"),
        }
    }

    #[test]
    fn nodes_are_requested_in_the_order_of_the_walk() {
        let mut frontier = Frontier::new("/a".into());
        assert_eq!(answer(&mut frontier, 9, 1, &names(2, 1)), ["/a"]);
        assert_eq!(answer(&mut frontier, 9, 1, &names(2, 1)), ["/a/0", "/a/1"]);
        // The children of nodes that have not been popped.
        let spots = frontier.request(3);
        assert_eq!(paths(&spots), ["/a/0/0", "/a/0/1", "/a/1/0"]);
        assert_eq!(paths(&frontier.request(3)), ["/a/1/1"]);
        spots.into_iter().for_each(|spot| frontier.answer(spot, (), 1, Some("x\0".to_owned())));
        assert_eq!(paths(&frontier.request(9)), ["/a/0/0/x", "/a/0/1/x", "/a/1/0/x"]);
    }

    #[test]
    fn nodes_are_popped_before_their_children() {
        let mut frontier = Frontier::new("/".into());
        assert!(matches!(frontier.pop(), Next::Unanswered));
        answer(&mut frontier, 1, 1, &names(2, 1));
        answer(&mut frontier, 9, 1, &names(1, 1));
        answer(&mut frontier, 1, 1, "");
        let popped: Vec<_> = (0..4).map(|_| pop(&mut frontier)).collect();
        let wanted = [("/", 0), ("/0", 1), ("/0/0", 2), ("/1", 1)];
        assert_eq!(popped, wanted.map(|(path, depth)| (path.to_owned(), depth)));
        assert!(matches!(frontier.pop(), Next::Unanswered));
        answer(&mut frontier, 9, 1, "");
        assert_eq!(pop(&mut frontier), ("/1/0".to_owned(), 2));
        assert!(matches!(frontier.pop(), Next::End));
        assert_eq!((frontier.names, frontier.ahead, frontier.first), (0, 0, None));
        assert_eq!(frontier.free.len(), frontier.lists.len());
    }

    #[test]
    fn children_may_be_added_after_the_node_was_popped() {
        let mut frontier = Frontier::new("/".into());
        answer(&mut frontier, 1, 1, &names(3, 1));
        pop(&mut frontier);
        let spot = frontier.request(1).remove(0);
        frontier.answer(spot, (), 1, None);
        assert_eq!(pop(&mut frontier).0, "/0");
        assert!(frontier.push_children("/0", &["x".into(), "y".into()]));
        assert_eq!(answer(&mut frontier, 9, 1, ""), ["/0/x", "/0/y", "/1", "/2"]);
        let popped: Vec<_> = (0..4).map(|_| pop(&mut frontier).0).collect();
        assert_eq!(popped, ["/0/x", "/0/y", "/1", "/2"]);
        assert!(matches!(frontier.pop(), Next::End));
    }

    #[test]
    fn large_answers_limit_the_nodes_that_are_requested() {
        let (batch, size) = (170, 4096);
        let children = names(1000, 3);
        let most = FULL + batch * (size + children.len() + 4096 + OVERHEAD);
        let mut frontier = Frontier::new("/".into());
        for _ in 0..1000 {
            answer(&mut frontier, batch, size, &children);
            assert!(frontier.ahead <= most);
        }
        assert!(frontier.ahead >= FULL);
        // The walk goes on, one node at a time.
        for _ in 0..1000 {
            let Next::Node { path, has_children, .. } = frontier.pop() else {
                assert_eq!(answer(&mut frontier, batch, size, &children).len(), 1);
                continue;
            };
            if !has_children {
                assert!(frontier.push_children(&path, &["0".into()]));
            }
            assert!(frontier.ahead <= most);
        }
    }

    #[test]
    fn names_have_a_limit() {
        let large: Vec<String> = (0..MAX_NAMES / 3 / 8).map(|at| format!("{at:07}")).collect();
        let mut frontier = Frontier::new("/".into());
        answer(&mut frontier, 1, 1, "");
        for added in [true, true, false] {
            let (path, _) = pop(&mut frontier);
            assert_eq!(frontier.push_children(&path, &large), added);
            assert!(frontier.names <= MAX_NAMES);
            answer(&mut frontier, 1, 1, "");
        }
        // The walk goes on with the next sibling.
        let (path, _) = pop(&mut frontier);
        assert!(frontier.push_children(&path, &["x".into()]));
    }
}
