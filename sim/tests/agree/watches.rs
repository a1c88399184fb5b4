//! One watch, from both.

use http::StatusCode;
use reflet_core::FailureClass;
use reflet_sim::world::{Ask, Dialogue, Object, Start, Word};
use serde_json::Value;

use crate::both::Both;
use crate::client::{Lines, Reply, failure, number};
use crate::situation::Situation;

const GONE: Word = Word::Failed(FailureClass::Gone, None);

pub(crate) struct TwoWatches {
    model: Dialogue,
    server: Lines,
    epoch: usize,
    /// The newest revision that was read.
    at: u64,
}

impl TwoWatches {
    /// Opens a watch at both, if they let us.
    pub(crate) async fn open(both: &Both, from: u64, epoch: Option<usize>) -> Option<Self> {
        let mut model = watch(both, from, epoch);
        let said = model.next(&both.world).expect("an answer");
        let query = format!("?watch=jsonl&{}", resume(both, from, epoch));
        let response = both.client.open(&query).await;
        if response.status() != StatusCode::OK {
            let reply = Reply::read(response).await;
            both.is_of_now(&reply);
            assert_eq!(Some(said), reply.failure());
            refused(both, from, epoch);
            return None;
        }
        let header = |name| response.headers()[name].to_str().unwrap();
        let epoch = both.epoch_number(header("x-reflet-epoch"));
        assert_eq!(said, Word::Opened(epoch));
        assert_eq!(
            header("x-reflet-revision"),
            both.world.place().head.to_string()
        );
        let mut watch = Self {
            model,
            server: Lines::new(response.into_body()),
            epoch,
            at: from,
        };
        // The first line is where it begins.
        watch.hear_progress(both).await;
        Some(watch)
    }

    /// Reads at most so many transactions from both; whether the watch goes on.
    pub(crate) async fn read(&mut self, both: &Both, count: usize) -> bool {
        for _ in 0..count {
            if let Some(Word::Progress(..)) = self.model.peek(&both.world) {
                // The server says so when it has been quiet for a while.
                let said = self.model.next(&both.world);
                assert_eq!(said, Some(progress(both, self.epoch, self.at)));
            }
            match self.model.peek(&both.world) {
                Some(Word::Put(..) | Word::Delete(..)) => {}
                None => return true,
                Some(_) => {
                    self.ends(both).await;
                    return false;
                }
            }
            let expected = transaction(&mut self.model, both);
            let mut said = Vec::new();
            while !matches!(said.last(), Some(Word::BatchEnd(_))) {
                let line = self.server.next().await.expect("a line");
                said.extend(change(both, self.epoch, &line));
            }
            said.sort_by_key(order);
            assert_eq!(expected, said);
            self.at += 1;
        }
        true
    }

    /// Everything was read: both say how far they are.
    pub(crate) async fn is_quiet(&mut self, both: &Both) {
        assert_eq!(self.at, both.world.place().head);
        self.hear_progress(both).await;
        both.saw(Situation::ReadToTheEnd);
        let idle = self.model.idle(&both.world);
        assert_eq!(idle, Some(progress(both, self.epoch, self.at)));
    }

    /// The next line is the bookmark of where we are.
    async fn hear_progress(&mut self, both: &Both) {
        let line = self.server.next().await.expect("a line");
        assert_eq!(line["type"], "BOOKMARK", "{line}");
        let digest = u64::from_str_radix(line["digest"].as_str().unwrap(), 16).unwrap();
        let said = Word::Progress(number(&line["revision"]), Some(digest));
        assert_eq!(said, progress(both, self.epoch, self.at));
    }

    /// The model has ended the watch: so does the server, for the same reason.
    async fn ends(&mut self, both: &Both) {
        let mut said = self.model.next(&both.world).unwrap();
        if said == Word::Closed {
            // The model is restored in silence, and says why when it is asked again.
            assert_ne!(self.epoch, both.world.epoch());
            said = watch(both, self.at, Some(self.epoch))
                .next(&both.world)
                .unwrap();
            both.saw(Situation::Restored);
        } else {
            both.saw(Situation::TooSlow);
        }
        assert_eq!(said, GONE);
        let line = self.server.next().await.expect("a reason");
        assert_eq!(line["type"], "ERROR", "{line}");
        assert_eq!(failure(&line), GONE);
        assert_eq!(self.server.next().await, None);
    }
}

/// One poll of the server, and what the model would say to a watch.
pub(crate) async fn poll(both: &Both, from: u64, epoch: Option<usize>, limit: usize) {
    let mut model = watch(both, from, epoch);
    let opened = model.next(&both.world).expect("an answer");
    let query = format!(
        "?watch=poll&wait_ms=0&limit={limit}&{}",
        resume(both, from, epoch)
    );
    let reply = both.client.get(&query).await;
    both.is_of_now(&reply);
    if let Some(failure) = reply.failure() {
        assert_eq!(opened, failure);
        refused(both, from, epoch);
        return;
    }
    let epoch = both.epoch_number(&reply.epoch);
    assert_eq!(opened, Word::Opened(epoch));
    if reply.status == StatusCode::NOT_MODIFIED {
        assert_eq!(from, both.world.place().head);
        assert_eq!(model.next(&both.world), None);
        both.saw(Situation::PolledNothing);
        return;
    }

    // Whole transactions, at least one, and no further one beyond the limit.
    let mut expected = transaction(&mut model, both);
    while let Some(Word::Put(..) | Word::Delete(..)) = model.peek(&both.world) {
        let next = transaction(&mut model, both);
        let events = expected.iter().chain(&next).filter(|word| word.is_change());
        if events.count() > limit {
            both.saw(Situation::PolledUpToTheLimit);
            break;
        }
        both.saw(Situation::PolledMany);
        expected.extend(next);
    }
    if expected.iter().filter(|word| word.is_change()).count() > limit {
        both.saw(Situation::PolledBeyondTheLimit);
    }
    let mut said = Vec::new();
    let mut begun = Vec::new();
    for event in reply.body["events"].as_array().unwrap() {
        begun.extend(change(both, epoch, event));
        if let Some(Word::BatchEnd(revision)) = begun.last() {
            assert!(*revision <= number(&reply.body["revision"]));
            begun.sort_by_key(order);
            said.append(&mut begun);
        }
    }
    assert_eq!(begun, []);
    assert_eq!(expected, said);
    assert_eq!(
        said.last(),
        Some(&Word::BatchEnd(number(&reply.body["revision"])))
    );
    assert_eq!(
        both.epoch_number(reply.body["epoch"].as_str().unwrap()),
        epoch
    );
}

/// Why a watch or poll was refused.
fn refused(both: &Both, from: u64, epoch: Option<usize>) {
    both.saw(if epoch.is_some_and(|epoch| epoch != both.world.epoch()) {
        Situation::AnotherEpoch
    } else if from > both.world.place().head {
        Situation::FromTheFuture
    } else {
        Situation::TooOld
    });
}

/// The model's side of a watch.
fn watch(both: &Both, from: u64, epoch: Option<usize>) -> Dialogue {
    let from = Start::After(from);
    Dialogue::new(&both.world, Ask::Watch { from, epoch }, 0)
}

/// Where the server is asked to go on.
fn resume(both: &Both, from: u64, epoch: Option<usize>) -> String {
    match epoch {
        Some(epoch) => format!("from={from}&epoch={}", both.epoch_name(epoch)),
        None => format!("from={from}"),
    }
}

/// The model's next transaction.
fn transaction(model: &mut Dialogue, both: &Both) -> Vec<Word> {
    let mut words = Vec::new();
    while !matches!(words.last(), Some(Word::BatchEnd(_))) {
        words.push(model.next(&both.world).expect("the end of a transaction"));
    }
    words.sort_by_key(order);
    words
}

/// The order of the changes in a transaction is not promised.
fn order(word: &Word) -> u32 {
    match word {
        Word::Put(key, ..) | Word::Delete(key, ..) => *key,
        _ => u32::MAX,
    }
}

fn progress(both: &Both, epoch: usize, revision: u64) -> Word {
    let digest = both.world.histories[epoch].at(revision).digest;
    Word::Progress(revision, Some(digest))
}

/// A change that the server told, and that its transaction is over if it says so.
fn change(both: &Both, epoch: usize, event: &Value) -> Vec<Word> {
    let revision = number(&event["revision"]);
    let previous = number(&event["previous"]);
    let (key, object) = both.object(epoch, event);
    assert_eq!(object.version, revision, "{event}");
    let before = both.world.histories[epoch].at(revision - 1).state.get(&key);
    let change = match event["type"].as_str().unwrap() {
        "ADDED" => {
            assert_eq!(before.copied(), None);
            Word::Put(key, object, revision, previous)
        }
        "MODIFIED" => {
            assert_eq!(before.unwrap().uid, object.uid);
            Word::Put(key, object, revision, previous)
        }
        "DELETED" => {
            // The model tells what was deleted; in the protocol a delete is a version of its own.
            let version = before.unwrap().version;
            Word::Delete(key, Object { version, ..object }, revision, previous)
        }
        other => panic!("{other}"),
    };
    let mut said = vec![change];
    match &event["last"] {
        Value::Null => {}
        Value::Bool(true) => said.push(Word::BatchEnd(revision)),
        other => panic!("last is {other}"),
    }
    said
}
