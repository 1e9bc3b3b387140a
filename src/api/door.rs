//! The doors of the gateway: its own port, and those that the remote control has besides. Behind each are the same calls, guards
//! and keys; at the remote control's own ports its calls stand at the root, and are found in the table all the same.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::http::uri::PathAndQuery;
use actix_web::middleware::Next;

/// What the calls of the remote control begin with.
pub(super) const REMOTE: &str = "/runner/";

/// Where listeners are let in.
const SOCKET: &str = "/runner/ws";

/// A door, and who may come in by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Door {
    /// Where it leads.
    pub entrance: Entrance,
    /// It is on a loopback address: only loopback host names are served.
    pub loopback_only: bool,
    /// Whoever shows no key is refused.
    pub keys_required: bool,
}

/// Where a door leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entrance {
    /// To all calls.
    Gateway,
    /// To those of the remote control.
    Remote,
    /// To what it tells listeners, whatever path they ask for.
    RemoteSocket,
}

/// Leads a request to the call that it means.
pub(crate) async fn enter(
    mut request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let entrance = request.app_data::<Door>().map_or(Entrance::Gateway, |door| door.entrance);
    if let Some(uri) = meant(entrance, request.uri()) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    next.call(request).await
}

/// Returns the path that is asked for at a door, as whoever asks has written it.
pub(super) fn as_written(path: &str, door: Option<&Door>) -> String {
    match door.map(|door| door.entrance) {
        Some(Entrance::Remote | Entrance::RemoteSocket) => path.replacen(REMOTE, "/", 1),
        Some(Entrance::Gateway) | None => path.to_owned(),
    }
}

fn meant(entrance: Entrance, uri: &Uri) -> Option<Uri> {
    let path = match entrance {
        Entrance::Gateway => return None,
        Entrance::Remote => format!("{REMOTE}{}", uri.path().trim_start_matches('/')),
        Entrance::RemoteSocket => SOCKET.to_owned(),
    };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{query}")).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_of_its_own_leads_to_its_calls() {
        let meant = |entrance, uri: &str| meant(entrance, &uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(meant(Entrance::Gateway, "/queue"), None);
        assert_eq!(meant(Entrance::Remote, "/queue?a=b").as_deref(), Some("/runner/queue?a=b"));
        assert_eq!(meant(Entrance::Remote, "/update/text").as_deref(), Some("/runner/update/text"));
        assert_eq!(meant(Entrance::Remote, "/runner/queue").as_deref(), Some("/runner/runner/queue"));
        assert_eq!(meant(Entrance::Remote, "//jobs").as_deref(), Some("/runner/jobs"));
        for path in ["/", "/ws", "/anything?x=1"] {
            let query = path.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
            assert_eq!(meant(Entrance::RemoteSocket, path), Some(format!("/runner/ws{query}")));
        }
        let door = Door { entrance: Entrance::Remote, loopback_only: true, keys_required: false };
        assert_eq!(as_written("/runner/queue", Some(&door)), "/queue");
        assert_eq!(as_written("/runner/queue", None), "/runner/queue");
    }
}
