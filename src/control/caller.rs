//! Who calls, and what there is for them.
//!
//! Only this file reaches the engine, and each of its ways asks whose the point of sale is. So no call can forget to: to
//! name one it needs an [`Own`], and those are made here. What is not the caller's is not there.

use std::rc::Rc;
use std::sync::Arc;

use super::problem::Problem;
use crate::domain::access::Scope;
use crate::domain::command::{Command, Refusal};
use crate::domain::id::{PosId, Reference};
use crate::domain::order::Order;
use crate::engine::{Admitted, Applied, Engine, Record, Revoked, Tokens};
use crate::feed::{After, Follower};
use crate::log::{OrderPage, OrderQuery};

pub(super) struct Caller {
    engine: Rc<Engine>,
    scope: Scope,
    /// Of a token that can be.
    revoked: Option<Revoked>,
}

/// A point of sale that the caller may see and touch, if it is there.
#[derive(Debug, Clone)]
pub(super) struct Own(PosId);

impl Own {
    pub(super) fn id(&self) -> &PosId {
        &self.0
    }
}

impl Caller {
    /// One that may do all: it came by the socket, or with the configured token.
    pub(super) fn trusted(engine: Rc<Engine>) -> Caller {
        Caller {
            engine,
            scope: Scope::All,
            revoked: None,
        }
    }

    pub(super) fn admitted(engine: Rc<Engine>, admitted: Admitted) -> Caller {
        Caller {
            engine,
            scope: admitted.scope,
            revoked: Some(admitted.revoked),
        }
    }

    /// Whether it may speak of every point of sale, and so of what is none's.
    pub(super) fn is_administrator(&self) -> bool {
        self.scope == Scope::All
    }

    /// Who is let in, for those who may say so.
    pub(super) fn tokens(&self) -> Result<&Tokens, Problem> {
        if self.is_administrator() {
            self.stands()?;
            Ok(self.engine.tokens())
        } else {
            Err(Problem::forbidden())
        }
    }

    /// Refuses one whose token was revoked since the call began.
    fn stands(&self) -> Result<(), Problem> {
        match &self.revoked {
            Some(revoked) if revoked.already() => Err(Problem::unauthorized()),
            _ => Ok(()),
        }
    }

    /// Returns once the caller's token is good no more.
    pub(super) fn revoked(&self) -> impl Future<Output = ()> + use<> {
        let revoked = self.revoked.clone();
        async {
            match revoked {
                Some(mut revoked) => revoked.wait().await,
                None => std::future::pending().await,
            }
        }
    }

    /// The point of sale of this name, registered or not.
    pub(super) fn pos(&self, name: &str) -> Result<Own, Problem> {
        let pos = PosId::parse(name).map_err(|rule| Problem::name("a point of sale's", &rule))?;
        self.own(pos).ok_or_else(|| Problem::pos_unknown(name))
    }

    fn own(&self, pos: PosId) -> Option<Own> {
        self.scope.has(&pos).then_some(Own(pos))
    }

    /// It as it is registered now.
    pub(super) fn find(&self, pos: &Own) -> Option<Arc<Record>> {
        self.engine.pos(&pos.0)
    }

    pub(super) fn record(&self, pos: &Own) -> Result<Arc<Record>, Problem> {
        self.find(pos).ok_or_else(|| Problem::pos_unknown(pos.0.as_str()))
    }

    /// Those that are registered, by name, after `cursor`, at most `limit`; and whether there are more.
    pub(super) async fn list(&self, cursor: Option<PosId>, limit: usize) -> Result<(Vec<Arc<Record>>, bool), Problem> {
        let Scope::Of(names) = &self.scope else {
            return Ok(self.engine.list(cursor, limit).await?);
        };
        let after = names
            .iter()
            .filter(|name| cursor.as_ref().is_none_or(|cursor| *name > cursor));
        let mut found = after.filter_map(|name| self.engine.pos(name));
        let page = found.by_ref().take(limit).collect();
        Ok((page, found.next().is_some()))
    }

    /// What is done is durable and visible once this returns.
    pub(super) async fn submit(&self, pos: &Own, command: Command) -> Result<Applied, Problem> {
        self.stands()?;
        self.conclude(pos, command).await
    }

    /// The same for what a call that was let in owes, whatever became of its token since.
    pub(super) async fn conclude(&self, pos: &Own, command: Command) -> Result<Applied, Problem> {
        let done = self.engine.submit(pos.0.clone(), command).await;
        done.map_err(|denied| Problem::denied(denied, &self.scope))
    }

    /// Why not, in words that are fit for the caller.
    pub(super) fn refused(&self, refusal: Refusal) -> Problem {
        Problem::refused(refusal, &self.scope)
    }

    /// An order, and whose it is.
    pub(super) async fn order(&self, reference: &str) -> Result<(Own, Arc<Order>), Problem> {
        let unknown = || Problem::order_unknown(reference);
        // What is no reference was never one of ours.
        let parsed = Reference::parse(reference).map_err(|_| unknown())?;
        let order = self.engine.reader().order(parsed).await?.ok_or_else(unknown)?;
        let pos = self.own(order.pos.clone()).ok_or_else(unknown)?;
        Ok((pos, order))
    }

    /// The history. Of all that the query names, the caller's.
    pub(super) async fn orders(
        &self,
        pos: Option<PosId>,
        query: impl FnOnce(Scope) -> OrderQuery,
    ) -> Result<OrderPage, Problem> {
        let of = match pos {
            Some(pos) => self.scope.only(pos),
            None => self.scope.clone(),
        };
        let reader = self
            .engine
            .caught_up()
            .await
            .map_err(|denied| Problem::denied(denied, &self.scope))?;
        Ok(reader.orders(query(of)).await?)
    }

    /// The feed of one point of sale, or of all that are the caller's.
    pub(super) async fn follow(&self, pos: Option<&Own>, after: After) -> Result<Follower, Problem> {
        let scope = pos.map_or_else(|| self.scope.clone(), |pos| pos.0.clone().into());
        Ok(self.engine.feed().follow(scope, after).await?)
    }

    /// Whether it was ever registered.
    pub(super) async fn was_there(&self, pos: &Own) -> Result<bool, Problem> {
        Ok(self.find(pos).is_some() || self.engine.reader().knows(pos.0.clone()).await?)
    }
}
