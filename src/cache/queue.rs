//! Operations that wait to be started, apart for each mount: where one has its share used up, those
//! of the others still go.

use std::collections::VecDeque;

use crate::ring::Op;

#[derive(Debug)]
struct Line<T> {
    mount: u64,
    waiting: VecDeque<(T, Op)>,
    /// Whether its first was refused since the ring last said that some may go on.
    full: bool,
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    lines: Vec<Line<T>>,
    /// How many could be tried now, at most.
    ready: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { lines: Vec::new(), ready: 0 }
    }
}

impl<T> Queue<T> {
    /// Appends to the line of the operation's mount.
    pub(super) fn push(&mut self, what: T, op: Op) {
        let line = self.line(op.mount());
        line.waiting.push_back((what, op));
        let ready = usize::from(!line.full);
        self.ready += ready;
    }

    /// The next one that was not refused already.
    pub(super) fn pop(&mut self) -> Option<(T, Op)> {
        let line = self.lines.iter_mut().find(|line| !line.full && !line.waiting.is_empty())?;
        self.ready -= 1;
        let next = line.waiting.pop_front();
        // Mounts come and go; a line is kept only as long as somebody stands in it.
        self.lines.retain(|line| !line.waiting.is_empty() || line.full);
        next
    }

    /// Puts back what was refused, as the first of its line; nobody behind it is tried either.
    pub(super) fn put_back(&mut self, what: T, op: Op) {
        let line = self.line(op.mount());
        let others = if line.full { 0 } else { line.waiting.len() };
        line.full = true;
        line.waiting.push_front((what, op));
        self.ready -= others;
    }

    /// The ring has said that some may go on.
    pub(super) fn wake(&mut self) {
        self.lines.iter_mut().for_each(|line| line.full = false);
        self.ready = self.lines.iter().map(|line| line.waiting.len()).sum();
    }

    /// Whether there is one to be tried.
    pub(super) fn has_work(&self) -> bool {
        self.ready > 0
    }

    fn line(&mut self, mount: u64) -> &mut Line<T> {
        let at = self.lines.iter().position(|line| line.mount == mount).unwrap_or_else(|| {
            self.lines.push(Line { mount, waiting: VecDeque::new(), full: false });
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn close(mount: u64) -> Op {
        Op::Close { raw: 1, mount }
    }

    #[test]
    fn a_mount_that_is_full_holds_up_its_own_line_alone() {
        let mut queue = Queue::default();
        for (name, mount) in [("a", 7), ("b", 7), ("c", 8)] {
            queue.push(name, close(mount));
        }
        let (first, op) = queue.pop().unwrap();
        assert_eq!(first, "a");
        queue.put_back(first, op);
        assert_eq!(queue.pop().unwrap().0, "c");
        assert!(!queue.has_work() && queue.pop().is_none(), "7 is full");
        queue.push("d", close(7));
        assert!(!queue.has_work());
        queue.wake();
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(name, _)| name).collect();
        assert_eq!(order, ["a", "b", "d"]);
        assert!(!queue.has_work() && queue.lines.is_empty());
    }
}
