//! Sending and receiving without waiting, for a driver of tasks or an event loop.

use xs_transport::{Received, Wait};

use super::guard::Guard;

/// The result of [`Guard::try_receive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Something was received, or the connection has just failed.
    Received,
    /// There is nothing to receive.
    Nothing,
    /// Another party receives.
    Taken,
    /// The connection has failed.
    Failed,
}

impl Guard<'_> {
    /// Sends what there is to send and receives once, without waiting.
    pub(crate) fn try_receive(&mut self) -> Turn {
        if self.failure().is_some() {
            return Turn::Failed;
        }
        self.try_send();
        if self.roles.awaiting_room {
            return Turn::Taken;
        }
        let Some(mut reader) = self.take_reader(false) else {
            return Turn::Taken;
        };
        let received = self.with_role(|| reader.receive(Wait::No, false));
        let turn = match received {
            Ok(Received::Nothing) => Turn::Nothing,
            _ => Turn::Received,
        };
        self.put_back_reader(reader, received);
        turn
    }

    /// Sends what there is to send, even if the transport accepted no more before. Returns false if
    /// it still accepts no more.
    pub(crate) fn try_send(&mut self) -> bool {
        self.gathered = false;
        self.roles.send_blocked &= self.roles.awaiting_room;
        self.flush();
        !self.roles.send_blocked
    }
}
