//! Changes of the set of users that a watch is about.

use std::future::pending;

use hashbrown::HashSet;
use route_proto::v1::watch_user_set_request::Message;
use route_proto::v1::{ChangeUserSet, WatchUserSetRequest};
use tonic::{Status, Streaming};

use crate::access::Caller;
use crate::api::snapshot::Snapshot;
use crate::api::watched::Watched;
use crate::limits::{MAX_IDS, check_ids, too_many_ids};
use crate::node::Node;
use crate::refusal::{Mistakes, Refusal};

/// What a client of WatchUserSet may still say.
#[derive(Debug)]
pub(crate) struct Changes {
    /// None: nothing.
    requests: Option<(Streaming<WatchUserSetRequest>, Caller)>,
    /// Of the last change.
    number: u32,
}

/// A change of the set, and a snapshot of those who are new.
#[derive(Debug)]
pub(crate) struct Addition {
    /// By which the client is answered; none if it has said all at once.
    pub(crate) number: Option<u32>,
    pub(crate) remove: Vec<u32>,
    pub(crate) add: Vec<u32>,
    /// None: nobody is new.
    pub(crate) snapshot: Option<Snapshot>,
    /// What stands in the log up to here is told of the users from before.
    pub(crate) until: u64,
}

impl Addition {
    /// Of users who are watched from now on, too.
    pub(crate) fn of(node: &Node, watched: &Watched, new: &[u32]) -> Self {
        let is_new = |user: &u32| watched.some().is_some_and(|users| !users.contains(user));
        let add: Vec<u32> = new.iter().copied().filter(is_new).collect();
        let snapshot = Snapshot::of(node, &add, watched.sessions);
        Self {
            number: None,
            remove: Vec::new(),
            add,
            until: snapshot.now.seq,
            snapshot: Some(snapshot),
        }
    }
}

impl Changes {
    /// What comes on this stream.
    pub(crate) fn new(requests: Streaming<WatchUserSetRequest>, caller: Caller) -> Self {
        Self {
            requests: Some((requests, caller)),
            number: 0,
        }
    }

    /// Nothing.
    pub(crate) fn none() -> Self {
        Self {
            requests: None,
            number: 0,
        }
    }

    /// What the client says next; never, if it can say nothing. May be given up at any time.
    pub(crate) async fn next(&mut self) -> Result<Option<WatchUserSetRequest>, Status> {
        match &mut self.requests {
            Some((requests, _)) => requests.message().await,
            None => pending().await,
        }
    }

    /// The client says nothing more.
    pub(crate) fn end(&mut self) {
        self.requests = None;
    }

    /// Checks what the client has said, and looks at those who are new. The stream has been read up
    /// to `after`.
    pub(crate) fn asked(
        &mut self,
        node: &Node,
        after: u64,
        watched: &Watched,
        request: Option<Message>,
    ) -> Result<Addition, Refusal> {
        let change = match request {
            Some(Message::ChangeSet(change)) => change,
            Some(Message::Start(_)) => return Err(Refusal::field("start", "comes once only")),
            None => return Err(Refusal::field("message", "is empty, or not known here")),
        };
        let ChangeUserSet {
            number,
            add_user_ids,
            remove_user_ids,
        } = change;
        let mut mistakes = Mistakes::default();
        mistakes.note(check_ids(&add_user_ids, "change_set.add_user_ids"));
        mistakes.note(check_ids(&remove_user_ids, "change_set.remove_user_ids"));
        mistakes.end_with(self.check_number(number))?;
        if let Some((_, caller)) = &self.requests {
            caller.asks_of(add_user_ids.len())?;
        }
        self.number = number;
        let before = watched.some().into_iter().flatten();
        let mut users: HashSet<u32> = before.copied().collect();
        for user in &remove_user_ids {
            users.remove(user);
        }
        let add: Vec<u32> = add_user_ids
            .into_iter()
            .filter(|user| users.insert(*user))
            .collect();
        if users.len() > MAX_IDS {
            return Err(too_many_ids(users.len(), "change_set.add_user_ids"));
        }
        let snapshot = (!add.is_empty()).then(|| Snapshot::of(node, &add, watched.sessions));
        Ok(Addition {
            number: Some(number),
            remove: remove_user_ids,
            until: snapshot.as_ref().map_or(after, |it| it.now.seq),
            add,
            snapshot,
        })
    }

    fn check_number(&self, number: u32) -> Result<(), Refusal> {
        let problem = match self.number {
            before if number > before => return Ok(()),
            0 => format!("{number}, but the first is at least 1"),
            before => format!("{number}, but it has to be greater than the one before, {before}"),
        };
        Err(Refusal::field("change_set.number", problem))
    }
}
