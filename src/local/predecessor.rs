//! Waits for the ComfyUI of a gateway that was killed, while its warden still ends it and it has the port. A lock in the data folder tells
//! that it is one of ours: wardens hold it as long as they live, and nobody else does.

use crate::clock::Clock;
use std::fs::{File, TryLockError};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;
use tracing::info;

/// How long it may take to end: its warden leaves it five seconds before it is made to.
const DYING: Duration = Duration::from_secs(15);
/// How long the port may stay taken when its warden has gone already.
const LINGERING: Duration = Duration::from_secs(2);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits as long as something listens on the address and may be of the gateway before this one; some seconds at most.
pub(super) async fn outwait(address: SocketAddr, lock: &Path, clock: &dyn Clock) {
    let mut until = clock.now() + DYING;
    let (mut is_told, mut is_gone) = (false, false);
    while is_taken(address) && clock.now() < until {
        if is_held(lock) {
            if !is_told {
                info!(%address, "waiting until the ComfyUI of the gateway before this one has ended");
                is_told = true;
            }
        } else if !is_told {
            return;
        } else if !is_gone {
            is_gone = true;
            until = until.min(clock.now() + LINGERING);
        }
        clock.sleep_until(clock.now() + LOOK_EVERY).await;
    }
}

/// Takes the lock for a warden, beside others that may still have it. It is held as long as any process has the file open.
pub(super) fn hold(lock: &Path) -> io::Result<File> {
    let file = open(lock)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn is_held(lock: &Path) -> bool {
    let tried = open(lock).map(|file| file.try_lock());
    matches!(tried, Ok(Err(TryLockError::WouldBlock)))
}

fn open(lock: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(lock)
}

fn is_taken(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    #[tokio::test]
    async fn only_what_may_be_ours_is_waited_for_and_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("comfyui.lock");
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let waited = async || {
            let begin = clock.now();
            let waiting = outwait(address, &lock, clock.as_ref());
            tokio::pin!(waiting);
            while futures_util::poll!(&mut waiting).is_pending() {
                clock.advance(LOOK_EVERY);
                tokio::task::yield_now().await;
            }
            clock.now().since(begin)
        };
        assert_eq!(waited().await, Duration::ZERO, "somebody else's");
        let held = (hold(&lock).unwrap(), hold(&lock).unwrap());
        assert_eq!(waited().await, DYING, "ours, and it never ends");
        let begin = clock.now();
        let waiting = outwait(address, &lock, clock.as_ref());
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(held);
        while futures_util::poll!(&mut waiting).is_pending() {
            clock.advance(LOOK_EVERY);
            tokio::task::yield_now().await;
        }
        assert!(clock.now().since(begin) <= LINGERING + LOOK_EVERY * 2, "its warden has gone");
        let _held = hold(&lock).unwrap();
        drop(taken);
        assert_eq!(waited().await, Duration::ZERO, "nobody listens there any more");
    }
}
