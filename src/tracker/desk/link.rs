//! How the socket of a backend is, as its tracker hears it.

/// How a socket is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SocketState {
    /// It stands.
    pub stands: bool,
    /// How often it has come up.
    pub connections: u64,
    /// How many tries to connect have failed since it stood last.
    pub tries: u32,
    /// Why it does not stand.
    pub reason: Option<String>,
}

impl SocketState {
    /// Notes that it has come up.
    pub(super) fn up(&mut self) {
        let connections = self.connections.saturating_add(1);
        *self = Self { stands: true, connections, tries: 0, reason: None };
    }

    /// Notes that it was lost, or that a try has failed.
    pub(super) fn not_there(&mut self, reason: &str) {
        self.tries = if self.stands { 0 } else { self.tries.saturating_add(1) };
        self.stands = false;
        self.reason = Some(reason.to_owned());
    }
}
