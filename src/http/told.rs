//! What dumps say of a server: which request each handler answers, and who waits for a peer.

use crate::{
    http::{
        core::{self, Core},
        members::Members,
        wire::Wire,
    },
    proto::h2::StreamKey,
    task::TaskId,
    worker::dump::{Knows, Told},
};

impl Knows for Members {
    fn tell(&self, told: &mut Told) {
        told.awaited_by(self.awaited_by(), |told| {
            self.each(|wire, driver| match (wire, driver) {
                (Some(wire), driver) => wire.tell(driver, told),
                (None, Some(driver)) => {
                    let what = "a connection whose TLS or proxy's header has not come whole";
                    told.works(driver, what.to_owned());
                }
                (None, None) => {}
            });
        });
    }
}

impl Wire {
    fn tell(&self, driver: Option<TaskId>, told: &mut Told) {
        // Whoever asks for a dump in the middle of a change is told less.
        let Ok(core) = self.core.try_borrow() else { return };
        let connection = format!("connection {} from {}", self.id(), self.peer_addr());
        if let Some(driver) = driver {
            let streams = core.open_streams();
            let plural = if streams == 1 { "" } else { "s" };
            told.works(
                driver,
                format!("{connection}, {} with {streams} request{plural} open", core::name(&core)),
            );
        }
        self.each_mailbox(|mailbox| {
            let what = || request(&core, mailbox.key, &connection);
            if let Some(handler) = mailbox.handler() {
                told.works(TaskId::new(handler), what());
            }
            if let Some(reader) = &mailbox.reader {
                told.waits(reader, || format!("more content of {}", what()));
            }
            if let Some(writer) = &mailbox.writer {
                told.waits(writer, || format!("the peer, to take more of the answer to {}", what()));
            }
        });
    }
}

/// A request in words.
fn request(core: &Core, stream: StreamKey, connection: &str) -> String {
    let (name, number) = (core::numbered(core), core.stream_id(stream));
    let asked = core::line(core, stream).unwrap_or_else(|| "a request".to_owned());
    match number {
        Some(number) => format!("{asked}, {name} {number} of {connection}"),
        None => format!("{asked}, which is over, of {connection}"),
    }
}
