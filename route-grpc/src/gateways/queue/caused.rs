//! Which batches have caused which entries of a queue.

use std::collections::VecDeque;

use route_core::{Kept, Receipt};

/// In order.
#[derive(Debug, Default)]
pub(super) struct Caused(VecDeque<Span>);

/// Entries that follow each other, and one of those who have caused them.
#[derive(Debug)]
struct Span {
    from: u64,
    to: u64,
    kept: Kept,
}

impl Caused {
    /// These have caused the entry at this offset, or more of it.
    pub(super) fn add(&mut self, offset: u64, receipts: &[Receipt], rests: bool) {
        for receipt in receipts {
            match self.0.back_mut() {
                Some(last) if last.kept.receipt() == receipt && last.to + 1 >= offset => {
                    last.to = offset;
                    last.kept.set_rests(rests);
                }
                Some(_) | None => self.0.push_back(Span {
                    from: offset,
                    to: offset,
                    kept: receipt.keep(rests),
                }),
            }
        }
    }

    /// All rest from now on, or none does.
    pub(super) fn set_rests(&mut self, rests: bool) {
        for span in &mut self.0 {
            span.kept.set_rests(rests);
        }
    }

    /// All entries up to this offset have been taken.
    pub(super) fn taken_up_to(&mut self, offset: u64) {
        while self.0.pop_front_if(|span| span.to <= offset).is_some() {}
        if self.0.is_empty() {
            self.0 = VecDeque::new();
        }
    }

    /// Who has caused the entry at this offset.
    pub(super) fn receipts_at(&self, offset: u64) -> Vec<Receipt> {
        // Of an entry with several causes, each has a span that begins and ends there at the latest.
        let first = self.0.partition_point(|span| span.to < offset);
        let spans = self.0.range(first..);
        let spans = spans.take_while(|span| span.from <= offset);
        spans.map(|span| span.kept.receipt().clone()).collect()
    }

    /// These entries (sorted) wait no longer.
    pub(super) fn forget(&mut self, offsets: &[u64]) {
        self.0.retain(|span| {
            let first = offsets.partition_point(|offset| *offset < span.from);
            let end = offsets.partition_point(|offset| *offset <= span.to);
            ((end - first) as u64) < span.to - span.from + 1
        });
    }

    /// What it takes.
    pub(super) fn bytes(&self) -> usize {
        self.0.len() * size_of::<Span>()
    }
}
