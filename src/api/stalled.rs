//! What becomes of a connection whose other end takes nothing: the system ends it, since no handler notices what is only
//! written into a buffer that is full.

use actix_web::rt::net::TcpStream;
use std::any::Any;

/// How long what is sent may lie there untaken. A paused film is asked for again by its player.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNTAKEN: std::time::Duration = std::time::Duration::from_mins(2);

/// Has the system end a new connection that stalls, where it can. For the server's `on_connect`.
pub fn limit_stalling(connection: &dyn Any) {
    let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // Without the limit the connection is as good; what it costs is bounded by the number of connections.
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(UNTAKEN));
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = stream;
}
