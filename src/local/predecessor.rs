//! Waits for the ComfyUI of a gateway that was killed, while its warden still ends it or it has the port. A lock in the data folder tells
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

/// Waits as long as the ComfyUI of the gateway before this one is there, whether it listens on the address or only its memory is
/// still to be freed, and as long as the address stays taken after it; some seconds at most.
pub(super) async fn outwait(address: SocketAddr, lock: &Path, clock: &dyn Clock) {
    let mut until = clock.now() + DYING;
    let (mut is_told, mut is_gone) = (false, false);
    while clock.now() < until {
        let (is_held, is_taken) = (is_held(lock), is_taken(address));
        if is_held {
            if !is_told {
                info!(%address, "waiting until the ComfyUI of the gateway before this one has ended");
                is_told = true;
            }
        } else if !is_told || !is_taken {
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
        drop(taken);
        assert_eq!(waited().await, Duration::ZERO, "nobody is there any more");
        let held = hold(&lock).unwrap();
        assert_eq!(waited().await, DYING, "it listens no more, and is still freeing its memory");
        let begin = clock.now();
        let waiting = outwait(address, &lock, clock.as_ref());
        tokio::pin!(waiting);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(held);
        clock.advance(LOOK_EVERY);
        waiting.await;
        assert_eq!(clock.now().since(begin), LOOK_EVERY, "both are free");
    }
}
