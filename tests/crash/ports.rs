//! Ports that stay ours while nobody listens on them, since a server that dies comes back at its old address.

use anyhow::{Context, bail};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which systems choose ports themselves: nobody gets one of these by accident.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of this machine that no other run of this program uses.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    /// Holds the number: others who want it try this first.
    _held: UdpSocket,
}

impl Port {
    pub(crate) fn choose() -> anyhow::Result<Self> {
        let start = u16::try_from(std::process::id() % u32::from(COUNT)).context("a remainder")?;
        for _ in 0..COUNT {
            let number = FIRST + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            let address = SocketAddr::from(([127, 0, 0, 1], number));
            if let Ok(held) = UdpSocket::bind(address)
                && TcpListener::bind(address).is_ok()
            {
                return Ok(Self { address, _held: held });
            }
        }
        bail!("there is no free port from {FIRST} on")
    }
}
