//! One call on its way: it shows what the backend asks for, and an access token that is not taken is not shown again.

use super::answer::failed;
use super::{Client, ClientError};
use reqwest::{RequestBuilder, Response, StatusCode};

/// Why a call has no answer.
pub(super) enum Unsent {
    /// It was not sent, for want of an access token.
    NoToken(String),
    /// It failed on its way, or its answer did.
    Failed(reqwest::Error),
}

impl From<Unsent> for ClientError {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::NoToken(reason) => Self::Unreachable(reason),
            Unsent::Failed(error) => failed(&error),
        }
    }
}

impl Client {
    /// Sends a call that changes nothing; once more if an access token was not taken and there may be another.
    pub(super) async fn send_safely(&self, call: RequestBuilder) -> Result<Response, ClientError> {
        let again = call.try_clone();
        match (Box::pin(self.send(call)).await?, again) {
            ((_, true), Some(again)) => Ok(Box::pin(self.send(again)).await?.0),
            ((response, _), _) => Ok(response),
        }
    }

    /// Sends a call with what the backend is shown. Says besides whether it was not let in and the next one shows another token.
    pub(super) async fn send(&self, call: RequestBuilder) -> Result<(Response, bool), Unsent> {
        let shown = self.route.credentials().await.map_err(Unsent::NoToken)?;
        let response = call.headers(shown.headers.clone()).send().await.map_err(Unsent::Failed)?;
        let is_refused = response.status() == StatusCode::UNAUTHORIZED;
        Ok((response, is_refused && self.route.refused(&shown).await))
    }
}
