//! The HTTP server in front, with the order in which a request passes its guards.

use super::remote::Open;
use super::{HEAD_LIMIT, LAST_ANSWERS};
use crate::api::{self, Api, Entrance};
use crate::lifecycle::Lifecycle;
use actix_web::dev::ServerHandle;
use actix_web::{App as ActixApp, HttpServer, web};
use tokio_util::sync::CancellationToken;
use tracing::error;

/// Begins to serve; should the server ever fail, `failing` tells all.
pub(super) fn serve(
    open: Open,
    api: &web::Data<Api>,
    per_address: usize,
    front: &Lifecycle,
    failing: CancellationToken,
) -> anyhow::Result<ServerHandle> {
    let data = api.clone();
    let Open { listener, door, .. } = open;
    let crowd = api::Crowd::new(per_address);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let server = HttpServer::new(move || {
        ActixApp::new()
            .app_data(data.clone())
            .app_data(door)
            .wrap(actix_web::middleware::from_fn(api::throttle))
            .wrap(actix_web::middleware::from_fn(api::identify))
            .wrap(actix_web::middleware::from_fn(api::guesses))
            .wrap(actix_web::middleware::from_fn(api::guard))
            .wrap(actix_web::middleware::from_fn(api::headers))
            .wrap(actix_web::middleware::from_fn(api::contain))
            .wrap(actix_web::middleware::from_fn(api::count))
            .wrap(actix_web::middleware::from_fn(api::enter))
            .configure(match door.entrance {
                Entrance::Gateway => api::routes,
                Entrance::Remote | Entrance::RemoteSocket => api::remote_routes,
            })
    })
    .on_connect(move |connection, extensions| {
        api::limit_stalling(connection);
        crowd.meet(connection, extensions);
    })
    .workers(workers)
    .max_connections((api::most_connections() / workers).max(1))
    .disable_signals()
    .client_request_timeout(HEAD_LIMIT)
    .shutdown_timeout(LAST_ANSWERS.as_secs())
    .listen(listener)?
    .run();
    let handle = server.handle();
    front.spawn_station("http", async move {
        // However it ends, a panic included, a gateway that nobody can reach must not go on.
        let _failing = failing.drop_guard();
        if let Err(error) = server.await {
            error!(%error, "the HTTP server ended");
        }
    });
    Ok(handle)
}
