//! A wire between gateway and simulator that notes when the end of a prompt went by.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// The event that ends a prompt, as it stands in its frame.
const END: &[u8] = b"execution_success";

/// When the last end went by.
#[derive(Clone, Default)]
pub(crate) struct Tap {
    seen: Arc<Mutex<Option<Instant>>>,
}

impl Tap {
    /// Opens a wire to the address; it lies as long as the program runs.
    pub(crate) async fn open(to: SocketAddr) -> anyhow::Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let tap = Self::default();
        let tapped = tap.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(to).await else { continue };
                // Without it small pieces would wait; then the figures would be worse, not wrong.
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                tokio::spawn(carry(near_read, far_write, None));
                tokio::spawn(carry(far_read, near_write, Some(tapped.clone())));
            }
        });
        Ok((tap, address))
    }

    /// Takes out when the last end went by.
    pub(crate) fn take(&self) -> Option<Instant> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, tap: Option<Tap>) {
    let mut piece = vec![0; 256 * 1024];
    let mut kept = 0;
    while let Ok(count @ 1..) = from.read(&mut piece[kept..]).await {
        let whole = kept + count;
        if let Some(tap) = &tap
            && piece[..whole].windows(END.len()).any(|window| window == END)
        {
            *tap.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        if to.write_all(&piece[kept..whole]).await.is_err() {
            return;
        }
        // What may be the beginning of the word is looked at again with what follows.
        let again = whole.min(END.len() - 1);
        piece.copy_within(whole - again..whole, 0);
        kept = again;
    }
}
