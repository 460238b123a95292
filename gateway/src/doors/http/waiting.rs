//! Work that goes on when its caller leaves or has waited long enough.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use tokio::time::{Instant, timeout_at};

use super::RETRY_AFTER;
use crate::admission::{self, Admission, Asked, Request};
use crate::case::{Caller as CallerFacts, Timestamp};
use crate::gate::Gate;
use crate::identity::Caller;
use crate::outage::{NoAnswer, Outage, Peer};

/// The most questions about pulls that are worked on at once; past it callers are told to ask again.
pub const FLIGHTS_MAX: usize = 4_096;

/// Does `work` in a task of its own: when the caller leaves or `until` passes, what was begun is finished and recorded.
///
/// # Errors
/// [`NoAnswer::Pending`] when the time is over, an outage of the gateway when the work panics.
pub(super) async fn going_on<T: Send + 'static>(
    doing: &'static str,
    until: Instant,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, NoAnswer> {
    match timeout_at(until, tokio::spawn(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(fault)) => Err(Outage::new(Peer::Internal, doing).because(fault).into()),
        Err(_) => Err(NoAnswer::Pending { retry_after: RETRY_AFTER }),
    }
}

/// The questions that are worked on now: who asks the same meanwhile gets the same answer. Nothing is remembered.
#[derive(Clone, Default)]
pub struct Flights(Arc<Mutex<HashMap<Key, Flight>>>);

/// Who asks what.
type Key = (CallerFacts, Asked);
type Outcome = Result<Arc<Admission>, Arc<NoAnswer>>;
type Flight = Shared<BoxFuture<'static, Outcome>>;

impl Flights {
    /// The answer to a question whose answer holds nothing of use to one alone, such as a pull's.
    ///
    /// # Errors
    /// That there is none, and why.
    pub(super) async fn ask(
        &self,
        gate: &Arc<Gate>,
        caller: Caller,
        asked: Asked,
        now: Timestamp,
        until: Instant,
    ) -> Outcome {
        let pending = || Err(Arc::new(NoAnswer::Pending { retry_after: RETRY_AFTER }));
        let key = (caller.facts().clone(), asked);
        let flight = {
            let mut flights = self.flights();
            match flights.get(&key) {
                Some(flight) => flight.clone(),
                None if flights.len() >= FLIGHTS_MAX => return pending(),
                None => {
                    let flight = self.begin(gate.clone(), caller, key.clone(), now);
                    flights.insert(key, flight.clone());
                    flight
                }
            }
        };
        timeout_at(until, flight).await.unwrap_or_else(|_| pending())
    }

    fn begin(&self, gate: Arc<Gate>, caller: Caller, key: Key, now: Timestamp) -> Flight {
        let asked = key.1.clone();
        let landing = Landing { flights: self.clone(), key };
        let work = tokio::spawn(async move {
            // Dropped when the work ends, a panic included: who asks later begins anew.
            let _landing = landing;
            admission::admit(&gate, Request { caller, asked }, now).await
        });
        let outcome = async move {
            match work.await {
                Ok(answer) => answer.map(Arc::new).map_err(Arc::new),
                Err(fault) => Err(Arc::new(Outage::new(Peer::Internal, "answering a pull").because(fault).into())),
            }
        };
        outcome.boxed().shared()
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Key, Flight>> {
        // Each critical section leaves the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Landing {
    flights: Flights,
    key: Key,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.flights.flights().remove(&self.key);
    }
}
