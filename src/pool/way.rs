//! The way to a backend as its definition says it: made, with everything that is wrong with it. Going it is left to `comfy`.

use super::definition::Mistake;
use crate::clock::{Clock, SystemClock};
use crate::comfy::{Route, RouteError, RouteOptions};
use crate::egress;
use std::sync::Arc;

/// Makes the way that a definition says, with the files and the variables of this process, and calls nobody. Tells what is wrong
/// with it, and what may not be on it.
pub fn open_way(options: &RouteOptions, clock: Arc<dyn Clock>) -> Result<Route, Vec<RouteError>> {
    let route = Route::defined(options, clock)?;
    let refused = route.calls().into_iter().filter_map(|(part, url)| {
        let what = egress::never_called(url)?;
        Some(RouteError { part, reason: format!("it leads to {what}, so it is never called; write another address") })
    });
    let refused: Vec<RouteError> = refused.collect();
    if refused.is_empty() { Ok(route) } else { Err(refused) }
}

/// Tells what is wrong with the way that a definition says.
pub fn wrong_way(options: &RouteOptions) -> Vec<Mistake> {
    let mistake = |error: RouteError| Mistake {
        field: error.part.split('.').next().unwrap_or_default().to_owned(),
        text: error.to_string(),
        line: None,
    };
    open_way(options, SystemClock::start()).err().into_iter().flatten().map(mistake).collect()
}
