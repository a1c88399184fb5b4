//! What is worth telling, bounded: if nobody listens, the oldest goes and is counted (P8).

use alloc::collections::VecDeque;

use crate::output::Notice;
use crate::probe::{canary, reach};

#[derive(Clone, Debug)]
pub(crate) struct Notices<K> {
    queue: VecDeque<Notice<K>>,
    limit: usize,
    lost: u64,
}

impl<K: core::fmt::Debug> Notices<K> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            limit,
            lost: 0,
        }
    }

    pub(crate) fn push(&mut self, notice: Notice<K>) {
        #[cfg(feature = "tracing")]
        tracing::debug!(?notice, "notice");
        if self.queue.len() >= self.limit && !canary!(UnboundedNotices) {
            reach!("notices that nobody polls");
            self.queue.pop_front();
            self.lost = self.lost.saturating_add(1);
        }
        self.queue.push_back(notice);
    }

    pub(crate) fn pop(&mut self) -> Option<Notice<K>> {
        match core::mem::take(&mut self.lost) {
            0 => self.queue.pop_front(),
            lost => Some(Notice::Lost(lost)),
        }
    }
}
