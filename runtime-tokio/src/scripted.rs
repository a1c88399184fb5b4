//! A source that does what a test says.
//!
//! Each request of the engine appears at the [`Script`], and the test answers it, word by word.
//! With the clock of tokio paused (`start_paused`), the engine's waits pass in no time.
//!
//! ```
//! use reflet_core::{FailureClass, SourceProfile};
//! use reflet_tokio::{Informer, scripted};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let (source, mut script) = scripted::source(SourceProfile::default());
//! let informer = Informer::builder(source).start();
//!
//! // The first list fails, and is tried again.
//! let list = script.next_request().await.unwrap();
//! list.fail(FailureClass::Retryable, "not today");
//! let list = script.next_request().await.unwrap();
//! list.objects(7, [("a", 3, "red"), ("b", 7, "blue")]);
//! informer.synced().await.unwrap();
//!
//! // A watch follows, from the list's revision.
//! let watch = script.next_request().await.unwrap();
//! watch.opened().upsert("a", 8, "green").delete("b", 9);
//! watch.flush().await;
//! assert_eq!(informer.objects(), [("a".into(), "green")]);
//! # }
//! ```

use std::future::pending;

use reflet_core::{Failure, FailureClass, Incarnation, Revision, SourceProfile, VersionRef};
use tokio::sync::{mpsc, oneshot};

use crate::source::{Commit, Envelope, Frame, ListRequest, Payload, Sink, Source, WatchRequest};

/// A source for tests, and the script that speaks for it.
#[must_use]
pub fn source<V>(profile: SourceProfile) -> (ScriptedSource<V>, Script<V>)
where
    V: Clone + Send + Sync + 'static,
{
    let (asks, requests) = mpsc::unbounded_channel();
    (ScriptedSource { profile, asks }, Script { requests })
}

/// The source that an informer is given: see [`source`].
#[derive(Debug)]
pub struct ScriptedSource<V> {
    profile: SourceProfile,
    asks: mpsc::UnboundedSender<Request<V>>,
}

/// Where the engine's requests come out.
#[derive(Debug)]
pub struct Script<V> {
    requests: mpsc::UnboundedReceiver<Request<V>>,
}

impl<V> Script<V> {
    /// The next request of the engine, as soon as it makes one; `None` when the informer is gone.
    pub async fn next_request(&mut self) -> Option<Request<V>> {
        self.requests.recv().await
    }

    /// A request that the engine has made already.
    pub fn made_request(&mut self) -> Option<Request<V>> {
        self.requests.try_recv().ok()
    }
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// For a page.
    List(ListRequest),
    /// For a watch.
    Watch(WatchRequest),
}

/// A request that the test answers. To say nothing, or to drop this, is silence: the request stays
/// open until the engine has had enough.
#[derive(Debug)]
pub struct Request<V> {
    asked: Asked,
    steps: mpsc::UnboundedSender<Step<V>>,
}

type Words<V> = Box<dyn FnOnce(&mut Sink<V>) + Send>;

enum Step<V> {
    Say(Words<V>),
    End(Result<(), Failure>),
    Flush(oneshot::Sender<()>),
}

impl<V: Clone + Send + Sync + 'static> Request<V> {
    /// What was asked.
    #[must_use]
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// A whole list in one page: objects as key, version and value.
    pub fn objects<'a>(&self, revision: u64, objects: impl IntoIterator<Item = (&'a str, u64, V)>) {
        self.page(revision);
        for (key, version, value) in objects {
            self.object(key, version, value);
        }
        self.page_end(None);
    }

    /// A page begins.
    pub fn page(&self, revision: u64) -> &Self {
        self.say(move |sink| sink.page(None, Some(Revision::from(revision))))
    }

    /// An object of a page.
    pub fn object(&self, key: &str, version: u64, value: V) -> &Self {
        self.put(key, version, value, None)
    }

    /// The page is over; `next` asks for the next one.
    pub fn page_end(&self, next: Option<&str>) -> &Self {
        let next = next.map(str::to_owned);
        self.say(move |sink| sink.page_end(next.as_deref())).close()
    }

    /// The watch is open.
    pub fn opened(&self) -> &Self {
        self.say(|sink| sink.opened(None))
    }

    /// An object was created or updated; its version is that revision too.
    pub fn upsert(&self, key: &str, revision: u64, value: V) -> &Self {
        self.put(key, revision, value, Some(commit(revision)))
    }

    /// An object was deleted.
    pub fn delete(&self, key: &str, revision: u64) -> &Self {
        let key: Box<str> = key.into();
        self.say(move |sink| {
            sink.frame(Frame::Delete {
                key: &key,
                version: None,
                incarnation: None,
                last: None,
                size: key.len(),
                commit: commit(revision),
            });
        })
    }

    /// Everything up to the revision has been said.
    pub fn progress(&self, revision: u64) -> &Self {
        self.frame(Frame::Progress(Revision::from(revision), None))
    }

    /// Anything that a source can say, where the other methods do not suffice.
    pub fn frame(&self, frame: Frame<'static, V>) -> &Self {
        self.say(move |sink| sink.frame(frame))
    }

    /// Runs `words` inside the source: whatever a source can do, panics included.
    pub fn say(&self, words: impl FnOnce(&mut Sink<V>) + Send + 'static) -> &Self {
        self.step(Step::Say(Box::new(words)))
    }

    /// The source ends the attempt cleanly.
    pub fn close(&self) -> &Self {
        self.step(Step::End(Ok(())))
    }

    /// The attempt fails.
    pub fn fail(&self, class: FailureClass, message: &str) -> &Self {
        self.fail_with(Failure::new(class, message))
    }

    /// The attempt fails, with all that can be said of it.
    pub fn fail_with(&self, failure: Failure) -> &Self {
        self.step(Step::End(Err(failure)))
    }

    /// Waits until the engine has heard everything that was said, or the request is over.
    pub async fn flush(&self) {
        let (done, heard) = oneshot::channel();
        self.step(Step::Flush(done));
        // An error says that the request is over.
        let _ = heard.await;
    }

    /// Waits until the request is over: ended by the script, or cancelled by the engine.
    pub async fn over(&self) {
        self.steps.closed().await;
    }

    /// Whether the request is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.steps.is_closed()
    }

    fn put(&self, key: &str, version: u64, value: V, commit: Option<Commit>) -> &Self {
        let key: Box<str> = key.into();
        self.say(move |sink| {
            sink.frame(Frame::Upsert {
                envelope: Envelope {
                    key: &key,
                    version: VersionRef::from(version),
                    incarnation: None::<Incarnation>,
                    size: key.len() + size_of::<V>(),
                },
                payload: Payload::Value(value),
                commit,
            });
        })
    }

    fn step(&self, step: Step<V>) -> &Self {
        // An error says that the request is over: nobody hears it.
        let _ = self.steps.send(step);
        self
    }
}

fn commit(revision: u64) -> Commit {
    Commit {
        revision: Some(Revision::from(revision)),
        previous: None,
    }
}

impl<V: Clone + Send + Sync + 'static> ScriptedSource<V> {
    async fn play(&self, asked: Asked, sink: &mut Sink<V>) -> Result<(), Failure> {
        let (steps, mut script) = mpsc::unbounded_channel();
        // An error says that the test dropped its script: silence, as for a dropped request.
        let _ = self.asks.send(Request { asked, steps });
        while let Some(step) = script.recv().await {
            match step {
                Step::Say(words) => words(sink),
                Step::End(end) => return end,
                Step::Flush(done) => {
                    let _ = done.send(());
                }
            }
        }
        pending().await
    }
}

impl<V: Clone + Send + Sync + 'static> Source for ScriptedSource<V> {
    type Value = V;

    fn profile(&self) -> SourceProfile {
        self.profile.clone()
    }

    async fn list(&self, request: ListRequest, sink: &mut Sink<V>) -> Result<(), Failure> {
        self.play(Asked::List(request), sink).await
    }

    async fn watch(&self, request: WatchRequest, sink: &mut Sink<V>) -> Result<(), Failure> {
        self.play(Asked::Watch(request), sink).await
    }
}
