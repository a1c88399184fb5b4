//! Reflet's engine and what readers read of it, driven by hand as the driver does it: a batch of
//! changes goes in, and then readers see it.

use reflet_tokio::Reader;
use reflet_tokio::read::ReadView;

use crate::engine::Engine;

/// An engine with readers.
#[expect(
    missing_debug_implementations,
    reason = "a million objects are no debug output"
)]
pub struct Readable<V> {
    /// The engine. What it publishes readers see after the next [`publish`](Self::publish).
    pub engine: Engine<V>,
    /// A handle for reading, to be cloned.
    pub reader: Reader<V>,
    view: ReadView<V>,
}

impl<V: Clone> Readable<V> {
    /// An engine whose first list has been asked for and not been answered.
    #[must_use]
    pub fn new() -> Self {
        let mut engine = Engine::new();
        let mut view = ReadView::new(&mut engine.informer, 42);
        let reader = view.reader(&mut engine.informer);
        Self {
            engine,
            reader,
            view,
        }
    }

    /// One that watches, with these objects in it, as in [`Engine::synced`].
    pub fn synced<'a>(objects: impl IntoIterator<Item = (&'a str, V)>) -> Self {
        let mut readable = Self::new();
        readable.engine.sync(objects);
        readable.publish();
        readable
    }

    /// Has readers see what was published.
    pub fn publish(&mut self) {
        drop(self.view.bring_up(&mut self.engine.informer));
    }
}

impl<V: Clone> Default for Readable<V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_a_batch_when_it_is_whole() {
        let mut readable = Readable::synced([("a", 1), ("b", 2)]);
        let reader = readable.reader.clone();
        assert_eq!((reader.load("a"), reader.len()), (Some(1), 2));
        readable.engine.update("a", 3);
        readable.engine.update("c", 4);
        assert_eq!((reader.load("a"), reader.load("c")), (Some(1), None));
        readable.publish();
        assert_eq!((reader.load("a"), reader.load("c")), (Some(3), Some(4)));
    }
}
