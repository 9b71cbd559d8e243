//! The changes of the state after a send, a receive or a failure.

use std::sync::Arc;
use std::time::Instant;

use xs_proto::{ConnectionError, ErrorCode, Event, Limits, Reply};
use xs_transport::{Failure, Progress, Received, Transport};

use super::calls::CallKey;
use super::housekeeping::Housekeeping;
use super::roles::{Reader, Roles, Writer};
use super::state::{Purpose, State};
use crate::trace;

impl State {
    /// Takes the writer role with output to send. Returns `None` if there is no output, the
    /// transport accepts none, or another party sends.
    pub(super) fn take_writer(&mut self) -> Option<Box<Writer>> {
        if self.roles.send_blocked || !self.has_output() {
            return None;
        }
        let mut writer = self.roles.writer.take()?;
        if writer.output.is_empty() {
            self.connection.take_output_into(&mut writer.output);
        }
        Some(writer)
    }

    /// Returns whether there is output and no party sends.
    pub(super) fn has_output(&self) -> bool {
        let Some(writer) = &self.roles.writer else { return false };
        self.failure().is_none() && (!writer.output.is_empty() || self.connection.has_output())
    }

    /// Puts the writer role back, after a send. `receives` is [`State::receives`] from before the
    /// send.
    pub(super) fn put_back_writer(
        &mut self,
        writer: Box<Writer>,
        sent: Result<Progress, Failure>,
        receives: u64,
    ) {
        if writer.generation != self.generation {
            return self.deferred.drop_later((writer.transport, sent));
        }
        self.roles.writer = Some(writer);
        match sent {
            // The failure is the result of all calls already.
            sent if self.failure().is_some() => self.deferred.drop_later(sent),
            Ok(Progress::Sent) => {}
            // If another party has received meanwhile, the transport may be writable again. That
            // party could not send, because the writer role was taken, so this one tries again.
            Ok(Progress::Blocked) => self.roles.send_blocked = self.receives == receives,
            Ok(Progress::Refused(code)) => {
                self.refused(code);
                // The refused request may be that of the party that receives.
                self.deferred.interrupt |= self.roles.reader.is_none();
            }
            Err(failure) => self.fail(failure),
        }
    }

    /// Takes the reader role, if it is free.
    pub(super) fn take_reader(&mut self, interruptible: bool) -> Option<Box<Reader>> {
        let reader = self.roles.reader.take()?;
        self.roles.offered = false;
        self.roles.interruptible = interruptible;
        // An interruptible party has just checked its condition, so it needs no interrupt.
        self.deferred.interrupt_waiter &= !interruptible;
        Some(reader)
    }

    /// Puts the reader role back, and dispatches what it has received.
    pub(super) fn put_back_reader(
        &mut self,
        reader: Box<Reader>,
        received: Result<Received, Failure>,
    ) {
        if reader.generation != self.generation {
            return self.deferred.drop_later((reader.transport, received));
        }
        if self.failure().is_none() {
            let failure = match received {
                Ok(Received::Bytes(n)) => {
                    self.receive(&reader.buffer[..n]).err().map(Failure::from)
                }
                Ok(Received::Nothing) => None,
                Ok(Received::End) => Some(self.connection.end_of_input().into()),
                Err(failure) => Some(failure),
            };
            failure.into_iter().for_each(|failure| self.fail(failure));
        } else {
            self.deferred.drop_later(received);
        }
        self.roles.reader = Some(reader);
        self.roles.offered = true;
        self.roles.interruptible = false;
        // The party that waits for a writable transport may have to receive now, or to send.
        self.deferred.interrupt |= self.roles.awaiting_writable;
    }

    /// Dispatches the replies and events in received bytes.
    fn receive(&mut self, mut input: &[u8]) -> Result<(), ConnectionError> {
        self.receives += 1;
        self.roles.send_blocked = false;
        self.deferred.wake_all(self.pumps.event_loop.take().map(|poller| poller.waiter));
        while !input.is_empty() {
            let received = self.connection.receive(input)?;
            input = &input[received.consumed..];
            match received.event {
                Some(Event::Reply { key, reply, .. }) => {
                    let reply = reply.into_owned();
                    self.answered(key, reply);
                }
                Some(Event::Watch { path, token }) => {
                    self.deferred.trace(trace::watch_fired(path, token));
                    self.watches.deliver(path, token, &mut self.deferred);
                }
                _ => {}
            }
        }
        self.use_room();
        Ok(())
    }

    /// Handles the refusal of the last message by the transport. The error becomes the reply.
    fn refused(&mut self, code: ErrorCode) {
        if let Some((_, Some(purpose))) = self.connection.refused() {
            self.answered(purpose, Reply::Error(code));
        }
        self.use_room();
    }

    /// Uses the room that replies have left. Housekeeping comes before new requests of the callers
    /// that are woken.
    fn use_room(&mut self) {
        self.submit_housekeeping();
        self.offer_room();
    }

    /// Handles a reply according to the purpose of its request.
    fn answered(&mut self, purpose: Purpose, reply: Reply<'static>) {
        match purpose {
            Purpose::Call(key) => _ = self.calls.complete(key, reply, &mut self.deferred),
            Purpose::Start(key) => self.started(key, reply),
            Purpose::Reset(key) => {
                // The watches end before the caller sees the reply.
                for token in self.transactions.end_reset(key, reply == Reply::Done) {
                    self.watches.remove(token, &mut self.deferred);
                }
                self.calls.complete(key, reply, &mut self.deferred);
            }
            Purpose::WatchAgain(token) => {
                self.housekeeping.answered();
                let refused = match reply {
                    Reply::Error(code) => Some(code),
                    _ => None,
                };
                self.watches.answered_again(token, refused, &mut self.deferred);
            }
            Purpose::CleanUp => self.housekeeping.answered(),
        }
    }

    /// Handles the reply to TRANSACTION_START. If its call was cancelled, aborts the transaction.
    fn started(&mut self, key: CallKey, reply: Reply<'static>) {
        let started = match reply {
            Reply::Transaction(tx_id) => Some(tx_id),
            _ => None,
        };
        self.transactions.started(key, started);
        let is_wanted = self.calls.complete(key, reply, &mut self.deferred);
        if let (Some(tx_id), false) = (started, is_wanted) {
            self.transactions.end(tx_id);
            self.housekeeping.push(Housekeeping::Abort(tx_id));
        }
    }

    /// Ends the connection with a failure, unless it has already failed.
    pub(crate) fn fail(&mut self, failure: Failure) {
        if self.failure().is_some() {
            return self.deferred.drop_later(failure);
        }
        self.deferred.trace(trace::connection_lost(&failure));
        self.deferred.close(self.transport.clone());
        self.housekeeping.clear();
        self.transactions.clear();
        self.calls.fail(&failure, &mut self.deferred);
        self.watches.wake_all(&mut self.deferred);
        self.backoff.lost(Instant::now());
        self.set_failure(Some(failure));
        self.wake_all();
    }

    /// Closes the client for good.
    pub(super) fn close(&mut self) {
        self.closed = true;
        // An alarm that is armed refers to itself.
        if let Some(alarm) = &self.alarm {
            self.deferred.arm(alarm, None);
        }
        self.fail(Failure::Closed);
        // If the connection had failed before, `fail` woke no party.
        self.watches.wake_all(&mut self.deferred);
        self.wake_all();
    }

    fn wake_all(&mut self) {
        self.wake_room_queue();
        self.pumps.wake_all(&mut self.deferred);
        // The party that watched the timers may have ended.
        self.timers.wake_all(&mut self.deferred);
    }

    /// Replaces the connection, and sets the watches again.
    pub(super) fn install(&mut self, transport: Arc<dyn Transport>, limits: Limits) {
        self.generation += 1;
        let old = std::mem::replace(&mut self.transport, transport);
        // A role that a party holds is dropped when it is put back.
        let roles = Roles::new(&self.transport, self.generation);
        let Roles { reader, writer, .. } = std::mem::replace(&mut self.roles, roles);
        self.deferred.drop_later((old, reader, writer));
        self.connection.restart(limits);
        if let Some(error) = self.backoff.connected(Instant::now()) {
            self.deferred.drop_later(error);
        }
        self.set_failure(None);
        let watches = self.watches.reconnected(&mut self.deferred);
        self.deferred.trace(trace::reconnected(watches.len()));
        watches
            .into_iter()
            .for_each(|token| self.housekeeping.push(Housekeeping::WatchAgain(token)));
        self.submit_housekeeping();
    }
}

#[cfg(test)]
mod tests {
    use xs_proto::{DomId, TxId};
    use xs_transport::mock::Xenstored;

    use super::*;
    use crate::engine::Engine;

    #[test]
    fn refused_send_of_failed_connection_answers_no_housekeeping() {
        let pipe = Xenstored::new().connect(DomId::DOM0);
        let engine = Engine::new(Arc::new(pipe), 1, None);
        let mut guard = engine.lock();
        // As over the xenbus device, which refuses requests.
        guard.connection.restart(Limits::default().with_one_at_a_time());
        guard.clean_up(Housekeeping::Abort(TxId(1)));
        let writer = guard.take_writer().unwrap();
        guard.fail(Failure::Closed);
        assert_eq!(guard.housekeeping.in_flight, 0);
        let receives = guard.receives;
        guard.put_back_writer(writer, Ok(Progress::Refused(ErrorCode::Io)), receives);
        assert_eq!(guard.housekeeping.in_flight, 0);
    }
}
