//! The cache's share of an engine's fingerprint.

use alloc::vec::Vec;
use core::fmt::Debug;

use crate::fingerprint::Print;
use crate::key::Key;

use super::entries::{Birth, Current, State};
use super::journal::Journal;
use super::nodes::{Node, OldNode, OldState};
use super::subscribers::{Filter, Pass, Subscriber};
use super::{Cache, Publication};

/// Sequence numbers by their rank: only their order matters.
struct Ranks(Vec<u64>);

impl Ranks {
    fn of(&self, seq: u64) -> Option<usize> {
        self.0.binary_search(&seq).ok()
    }
}

impl<K: Key, V: Debug, S> Cache<K, V, S> {
    pub(crate) fn print(&self, print: &mut Print) {
        // All fields are named, so that a new one cannot be forgotten.
        let Self {
            hasher: _,
            table: _,
            log,
            subscribers,
            indexes,
            lapsed,
            lossless,
            hidden,
            live: _,
            bytes: _,
            digest,
            marks: _,
            epoch,
            restored,
            published,
            follower: _,
        } = self;
        let ranks = self.ranks();
        for node in log.nodes.walk() {
            match node {
                Node::Entry(id) => self.print_entry(id, &ranks, print),
                Node::Old(id) => print.add((1, ranks.of(log.nodes.olds[id].seq))),
                // Where gaps are follows from who rests where.
                Node::Gap(_) | Node::End => {}
            }
        }
        for (position, pin) in log.pins.iter() {
            print.add((2, ranks.of(position), pin.charge));
            self.print_owned(pin.owned, &ranks, print);
        }
        for (end, passes, tombstones) in log.pins.passes() {
            print.add((5, ranks.of(end), passes));
            self.print_owned(tombstones, &ranks, print);
        }
        for head in log.pins.orphans() {
            print.add(3);
            self.print_owned(Some(*head), &ranks, print);
        }
        // What is in them follows from what is live. Who was given which place in the cache, and
        // so the order in which things are found, decides nothing.
        print.add((indexes.ids().collect::<Vec<_>>(), indexes.holders()));
        print.add((4, ranks.of(log.tail), digest, epoch, published.is_some()));
        print.add(restored);
        print.add_debug(lapsed);
        print.add((lossless, hidden));
        let number = published.as_ref().map_or(0, |last| last.number);
        if let Some(published) = published {
            let Publication {
                seq,
                number: _,
                revision,
                complete,
                restored,
                epoch,
            } = published;
            print.add((ranks.of(*seq), revision, complete, restored, epoch));
        }
        let (generations, free) = subscribers.slots();
        print.add((generations.collect::<Vec<_>>(), free));
        for id in subscribers.ids() {
            print.add(id);
            if let Some(subscriber) = subscribers.get(id) {
                self.print_subscriber(subscriber, number, &ranks, print);
            }
        }
    }

    fn ranks(&self) -> Ranks {
        let log = &self.log;
        let mut seqs = alloc::vec![0, log.tail];
        for node in log.nodes.walk() {
            if let Node::Entry(id) = node {
                let entries = &log.nodes.entries;
                seqs.extend([entries.seq(id), entries.birth(id).at]);
                for old in entries.chain(id).ids() {
                    let old = &log.nodes.olds[old];
                    seqs.extend([old.seq, old.until, old.birth.at]);
                }
            }
        }
        seqs.extend(log.pins.held().iter().map(|(position, _)| *position));
        seqs.extend(self.published.as_ref().map(|published| published.seq));
        seqs.sort_unstable();
        seqs.dedup();
        Ranks(seqs)
    }

    fn print_entry(&self, id: u32, ranks: &Ranks, print: &mut Print) {
        let entries = &self.log.nodes.entries;
        let Some(current) = entries.current(id) else {
            return;
        };
        let Current {
            key,
            seq,
            birth,
            state,
            chain,
        } = current;
        print.add(0);
        print.add_debug(key);
        match state {
            State::Live(value) => {
                print.add("live");
                print.add_debug(value);
                let source = entries.live(id);
                print.add(source.map(|entry| (entry.version, entry.incarnation)));
                print.add(self.marks.contains(id));
            }
            State::Dead { last, inferred } => {
                print.add("dead");
                print.add_debug(&last);
                print.add(inferred);
            }
        }
        let Birth { at, inferred } = birth;
        print.add((ranks.of(seq), ranks.of(at), inferred, entries.size(id)));
        print.add(chain.ids().len());
        for id in chain.ids() {
            let OldNode {
                links: _,
                in_list,
                entry: _,
                seq,
                until,
                birth: Birth { at, inferred },
                state,
                cost,
                owner,
                next_owned: _,
            } = &self.log.nodes.olds[id];
            print.add([seq, until, at].map(|seq| ranks.of(*seq)));
            let kept = match state {
                OldState::Deleted { .. } => self.log.pins.has_pass_end(*owner),
                OldState::Value(_) | OldState::Vacant => self.log.pins.get(*owner).is_some(),
            };
            let owner = ranks.of(*owner).filter(|_| kept);
            print.add((in_list, inferred, cost, owner));
            match state {
                OldState::Vacant => print.add("vacant"),
                OldState::Value(value) => print.add_debug(&("value", value)),
                OldState::Deleted { inferred } => print.add(("deleted", inferred)),
            }
        }
    }

    /// Versions that are linked as one pin's: they are settled in this order.
    fn print_owned(&self, mut next: Option<u32>, ranks: &Ranks, print: &mut Print) {
        while let Some(id) = next {
            let old = &self.log.nodes.olds[id];
            print.add(ranks.of(old.seq));
            next = old.next_owned;
        }
        print.add(None::<usize>);
    }

    fn print_subscriber(
        &self,
        subscriber: &Subscriber<K, V>,
        number: u64,
        ranks: &Ranks,
        print: &mut Print,
    ) {
        let Subscriber {
            base,
            filter,
            partition,
            wanted,
            redeliver,
            pass,
            journal,
            pending,
            owes_reset,
            initial,
            marked,
        } = subscriber;
        let identity = |filter: &Option<Filter<K, V>>| filter.as_ref().map(Filter::identity);
        // What was marked is compared with the newest publication only.
        let age = |publication: u64| (publication > 0).then(|| number.saturating_sub(publication));
        print.add((ranks.of(*base), owes_reset, initial, age(*marked)));
        print.add((identity(filter), wanted.as_ref().map(identity)));
        print.add((partition, redeliver));
        print.add_debug(pending);
        if let Some(journal) = journal {
            let Journal {
                records,
                ready,
                bytes,
                bound,
                records_writes,
            } = journal;
            print.add((records.len(), ready, bytes, bound, records_writes));
            for record in records {
                print.add_debug(&record.delta);
                print.add(age(record.publication));
            }
        }
        print.add(pass.is_some());
        if let Some(pass) = pass {
            let Pass {
                end,
                cursor,
                refilter,
                redeliver,
                mark,
                publication,
            } = pass;
            print.add((ranks.of(*end), refilter.as_ref().map(identity)));
            print.add(redeliver);
            print.add((mark, age(*publication)));
            print.add(self.nodes_behind(*cursor));
        }
    }

    /// How many nodes come after a gap, gaps apart.
    fn nodes_behind(&self, gap: u32) -> usize {
        let nodes = &self.log.nodes;
        let (mut at, mut count) = (nodes.gap_link(gap), 0);
        loop {
            at = nodes.next(at);
            match at.node() {
                Node::End => return count,
                Node::Gap(_) => {}
                Node::Entry(_) | Node::Old(_) => count += 1,
            }
        }
    }
}
