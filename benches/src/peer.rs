//! kube-runtime's reflector store, driven by hand.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use futures_util::stream::{LocalBoxStream, StreamExt as _, poll_fn};
use k8s_openapi::api::core::v1::ConfigMap;
use kube_runtime::reflector::store::{self, Store, Writer};
use kube_runtime::reflector::{ReflectHandle, reflector};
use kube_runtime::watcher::{self, Event};

use crate::objects::{Object, World};

/// A store without subscribers, and its writer.
#[expect(
    missing_debug_implementations,
    reason = "a million objects are no debug output"
)]
pub struct Peer {
    /// Takes events by reference, and clones the objects in them.
    pub writer: Writer<ConfigMap>,
    /// What readers hold.
    pub store: Store<ConfigMap>,
}

impl Peer {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let (store, writer) = store::store();
        Self { writer, store }
    }

    /// A store with these objects.
    #[must_use]
    pub fn synced(world: &World) -> Self {
        let mut peer = Self::new();
        peer.list(&world.objects);
        peer
    }

    /// A list, the first or another one.
    pub fn list(&mut self, objects: &[Object]) {
        list(&mut self.writer, objects);
    }
}

impl Default for Peer {
    fn default() -> Self {
        Self::new()
    }
}

fn list(writer: &mut Writer<ConfigMap>, objects: &[Object]) {
    writer.apply_watcher_event(&Event::Init);
    for object in objects {
        writer.apply_watcher_event(object);
    }
    writer.apply_watcher_event(&Event::InitDone);
}

/// How many references a subscriber may be behind before the store waits for it.
pub const BUFFER: usize = 64;

/// A shared store with subscribers.
///
/// Events go to subscribers only through its reflector's stream, which takes and gives back owned
/// events. Nothing sleeps here: the stream and the subscribers are polled by hand.
#[expect(missing_debug_implementations, reason = "streams have no debug output")]
pub struct SharedPeer {
    queue: Rc<RefCell<VecDeque<Event<ConfigMap>>>>,
    stream: LocalBoxStream<'static, watcher::Result<Event<ConfigMap>>>,
    subscribers: Vec<ReflectHandle<ConfigMap>>,
}

impl SharedPeer {
    /// A shared store with these objects and so many subscribers.
    #[must_use]
    pub fn synced(world: &World, subscribers: usize) -> Self {
        let (_, mut writer) = store::store_shared(BUFFER);
        list(&mut writer, &world.objects);
        let subscribers = (0..subscribers)
            .filter_map(|_| writer.subscribe())
            .collect();
        let queue = Rc::new(RefCell::new(VecDeque::new()));
        let source = Rc::clone(&queue);
        let events = poll_fn(move |_| match source.borrow_mut().pop_front() {
            Some(event) => Poll::Ready(Some(Ok(event))),
            None => Poll::Pending,
        });
        Self {
            queue,
            stream: reflector(writer, events).boxed_local(),
            subscribers,
        }
    }

    /// Events that the next [`run`](Self::run) hands in.
    pub fn queue(&mut self, events: impl IntoIterator<Item = Event<ConfigMap>>) {
        self.queue.borrow_mut().extend(events);
    }

    /// Hands in all queued events, and lets every subscriber read everything. Returns how many
    /// objects they got, and the events, which whoever queued them drops.
    pub fn run(&mut self) -> (usize, Vec<Event<ConfigMap>>) {
        let mut context = Context::from_waker(Waker::noop());
        let (mut read, mut back) = (0, Vec::with_capacity(self.queue.borrow().len()));
        loop {
            // It waits where the buffer is full, and where no event is left.
            let mut moved = 0;
            while let Poll::Ready(Some(event)) = self.stream.as_mut().poll_next(&mut context) {
                back.extend(event);
                moved += 1;
            }
            for subscriber in &mut self.subscribers {
                while let Poll::Ready(Some(object)) =
                    Pin::new(&mut *subscriber).poll_next(&mut context)
                {
                    std::hint::black_box(&object);
                    moved += 1;
                    read += 1;
                }
            }
            if moved == 0 {
                return (read, back);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::config_map;
    use kube_runtime::reflector::ObjectRef;

    #[test]
    fn what_is_listed_can_be_read() {
        let peer = Peer::synced(&World::new(100));
        assert_eq!(peer.store.len(), 100);
        let key = ObjectRef::new("obj-00000007").within("ns-7");
        assert!(peer.store.get(&key).is_some());
    }

    #[test]
    fn every_subscriber_reads_every_update_and_every_relisted_object() {
        let world = World::new(200);
        let mut peer = SharedPeer::synced(&world, 3);
        peer.queue((0..150).map(|number| Event::Apply(config_map(number, 2))));
        let (read, back) = peer.run();
        assert_eq!((read, back.len()), (3 * 150, 150));
        peer.queue([Event::Init]);
        peer.queue(world.objects.iter().map(|object| Event::clone(object)));
        peer.queue([Event::InitDone]);
        assert_eq!(peer.run().0, 3 * 200);
    }
}
