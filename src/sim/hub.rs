//! The table of sockets: who hears what, with ComfyUI's own mistakes about two sockets of one client.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use super::frames::{self, FrameImage};

/// What a socket's task is told to do, in order.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// Send this text frame.
    Text(Bytes),
    /// Send this binary frame.
    Binary(Bytes),
    /// End the TCP connection without a word.
    Cut,
}

/// Who a frame is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Audience {
    /// The sockets of one client id.
    Client(String),
    /// Every socket.
    Everyone,
    /// No socket: the client id is one that no socket can have.
    Nobody,
}

/// The sockets that are open, and what is known about each client id.
#[derive(Debug, Default)]
pub(super) struct Hub {
    next: u64,
    sockets: BTreeMap<u64, UnboundedSender<Command>>,
    /// The newest socket of each client id; the only one that hears anything.
    table: HashMap<String, Seat>,
    deaf: HashSet<u64>,
}

#[derive(Debug)]
struct Seat {
    socket: u64,
    with_metadata: bool,
}

impl Hub {
    /// Lets a socket in; an older one with the same client id stays open and hears nothing any more.
    pub(super) fn open(&mut self, client: &str, sender: UnboundedSender<Command>) -> u64 {
        self.next += 1;
        self.sockets.insert(self.next, sender);
        self.table.insert(client.to_owned(), Seat { socket: self.next, with_metadata: false });
        self.next
    }

    /// Forgets a socket that has closed, and with it the client id, even if a newer socket has it (ComfyUI 0.3.64).
    pub(super) fn close(&mut self, socket: u64, client: &str) {
        self.deaf.remove(&socket);
        if self.sockets.remove(&socket).is_some() {
            self.table.remove(client);
        }
    }

    /// Forgets every socket, because all connections break.
    pub(super) fn clear(&mut self) {
        self.sockets.clear();
        self.table.clear();
        self.deaf.clear();
    }

    /// Notes whether a client wants images with their description.
    pub(super) fn set_metadata(&mut self, client: &str, wanted: bool) {
        if let Some(seat) = self.table.get_mut(client) {
            seat.with_metadata = wanted;
        }
    }

    /// Returns how many sockets are open.
    pub(super) fn open_sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Returns whether images for this audience carry their description.
    pub(super) fn wants_metadata(&self, audience: &Audience) -> bool {
        match audience {
            Audience::Client(client) => self.table.get(client).is_some_and(|seat| seat.with_metadata),
            Audience::Everyone | Audience::Nobody => false,
        }
    }

    /// Sends a text frame.
    pub(super) fn text(&self, audience: &Audience, text: &str) {
        self.send(audience, &Command::Text(Bytes::copy_from_slice(text.as_bytes())));
    }

    /// Sends an image in the framing that the audience has asked for.
    pub(super) fn image(&self, audience: &Audience, image: &FrameImage<'_>) {
        self.send(audience, &Command::Binary(frames::image(image, self.wants_metadata(audience))));
    }

    /// Sends any frame.
    pub(super) fn send(&self, audience: &Audience, command: &Command) {
        match audience {
            Audience::Client(client) => self.send_to(self.table.get(client), command),
            Audience::Everyone => self.table.values().for_each(|seat| self.send_to(Some(seat), command)),
            Audience::Nobody => {}
        }
    }

    /// Ends the audience's connections without a close frame, after what was sent before.
    pub(super) fn cut(&mut self, audience: &Audience) {
        self.send(audience, &Command::Cut);
        match audience {
            Audience::Client(client) => {
                let seat = self.table.remove(client);
                seat.and_then(|seat| self.sockets.remove(&seat.socket));
            }
            Audience::Everyone => self.clear(),
            Audience::Nobody => {}
        }
    }

    /// Lets the audience's sockets stay open and hear nothing from now on.
    pub(super) fn deafen(&mut self, audience: &Audience) {
        let hit: Vec<u64> = match audience {
            Audience::Client(client) => self.table.get(client).map(|seat| seat.socket).into_iter().collect(),
            Audience::Everyone => self.table.values().map(|seat| seat.socket).collect(),
            Audience::Nobody => Vec::new(),
        };
        self.deaf.extend(hit);
    }

    fn send_to(&self, seat: Option<&Seat>, command: &Command) {
        let Some(seat) = seat.filter(|seat| !self.deaf.contains(&seat.socket)) else { return };
        if let Some(sender) = self.sockets.get(&seat.socket) {
            // The task has ended: its socket is being closed.
            let _ = sender.send(command.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    fn heard(receiver: &mut UnboundedReceiver<Command>) -> usize {
        std::iter::from_fn(|| receiver.try_recv().ok()).count()
    }

    #[test]
    fn the_newer_socket_of_a_client_takes_over_and_goes_deaf_when_the_older_closes() {
        let mut hub = Hub::default();
        let (first, mut first_ear) = unbounded_channel();
        let (second, mut second_ear) = unbounded_channel();
        let old = hub.open("a", first);
        hub.open("a", second);
        hub.text(&Audience::Everyone, "{}");
        assert_eq!((heard(&mut first_ear), heard(&mut second_ear)), (0, 1));
        hub.close(old, "a");
        hub.text(&Audience::Everyone, "{}");
        hub.text(&Audience::Client("a".to_owned()), "{}");
        assert_eq!(heard(&mut second_ear), 0);
        assert_eq!(hub.open_sockets(), 1);
    }

    #[test]
    fn a_deaf_socket_stays_open_and_its_successor_hears() {
        let mut hub = Hub::default();
        let (sender, mut ear) = unbounded_channel();
        let client = Audience::Client("a".to_owned());
        hub.open("a", sender.clone());
        hub.deafen(&client);
        hub.text(&client, "{}");
        assert_eq!(heard(&mut ear), 0);
        hub.open("a", sender);
        hub.text(&client, "{}");
        assert_eq!(heard(&mut ear), 1);
    }
}
