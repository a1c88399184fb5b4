//! One list, from both.

use reflet_sim::world::{Ask, Dialogue, Word};

use crate::both::Both;
use crate::client::number;
use crate::situation::Situation;

pub(crate) struct TwoLists {
    model: Dialogue,
    at_least: Option<u64>,
    /// The token of the server's next page; `None` before the first one.
    token: Option<String>,
}

/// What the model says to one request for a page.
struct Page {
    words: Vec<Word>,
    /// So many of them are items.
    items: usize,
    /// There may be more.
    more: bool,
}

impl TwoLists {
    pub(crate) fn new(both: &Both, limit: u32, at_least: Option<u64>) -> Self {
        let ask = Ask::List {
            at_least,
            known: None,
            epoch: None,
            limit,
        };
        Self {
            model: Dialogue::new(&both.world, ask, 0),
            at_least,
            token: None,
        }
    }

    /// Gets the next page from both; whether the list goes on.
    ///
    /// The model's pages are ranges of keys, so that some have no items; the server's never are
    /// empty while there are more. So it is asked for as many items as the model has, and where
    /// the model has none, for nothing.
    pub(crate) async fn next_page(&mut self, both: &Both) -> bool {
        let mut page = self.model_page(both);
        while page.items == 0 && page.more {
            page = self.model_page(both);
        }
        let mut query = format!("?limit={}", page.items.max(1));
        if let Some(token) = &self.token {
            query += &format!("&continue={token}");
        } else if let Some(least) = self.at_least {
            query += &format!("&at_least={least}");
        }
        let reply = both.client.get(&query).await;
        if let Some(failure) = reply.failure() {
            both.is_of_now(&reply);
            assert_eq!(page.words, [failure]);
            both.saw(match self.model.pinned() {
                None => Situation::ListBehind,
                Some(at) if at.epoch != both.world.epoch() => Situation::TokenOfAnotherEpoch,
                Some(_) => Situation::TokenTooOld,
            });
            return false;
        }

        let epoch = both.epoch_number(&reply.epoch);
        assert_eq!(
            both.epoch_number(reply.body["epoch"].as_str().unwrap()),
            epoch
        );
        assert_eq!(number(&reply.body["revision"]), reply.revision);
        let mut said = vec![Word::Page(epoch, reply.revision)];
        let items = reply.body["items"].as_array().unwrap().iter();
        said.extend(items.map(|item| {
            let (key, object) = both.object(epoch, item);
            Word::Item(key, object)
        }));
        page.words.pop_if(|word| matches!(word, Word::PageEnd(_)));
        assert_eq!(page.words, said);

        if self.token.is_some() && !page.more && reply.revision < both.world.place().head {
            both.saw(Situation::PagesThroughWrites);
        }
        if self.token.is_none() && page.items == 0 {
            both.saw(Situation::EmptyList);
        }
        self.token = reply.body["continue"].as_str().map(str::to_owned);
        if self.token.is_none() {
            // The server knows that nothing follows; the model has looked at all ranges then.
            while page.more {
                page = self.model_page(both);
                assert_eq!(page.items, 0);
            }
        }
        assert_eq!(page.more, self.token.is_some());
        page.more
    }

    fn model_page(&mut self, both: &Both) -> Page {
        self.model.ask();
        let mut words = Vec::new();
        loop {
            let word = self.model.next(&both.world).expect("an answer");
            let over = word.is_last() || matches!(word, Word::PageEnd(_));
            words.push(word);
            if over {
                break;
            }
        }
        Page {
            items: words
                .iter()
                .filter(|word| matches!(word, Word::Item(..)))
                .count(),
            more: matches!(words.last(), Some(Word::PageEnd(Some(_)))),
            words,
        }
    }
}
