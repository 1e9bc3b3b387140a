//! Links to outputs that carry a signature instead of a key: whether a request came by one, and whether it is good.
//!
//! A good signature stands for the key and the tenant, for exactly that output. `admit` asks here before it looks for a key.

use super::{Api, ApiError};
use crate::job::{JobId, LinkError};
use actix_web::HttpRequest;
use actix_web::http::Method;
use url::form_urlencoded;

/// Says whether a request came by a signed link. None where it did not: then it needs what every request needs. Where the
/// link is not good, the answer to refuse the request with, whatever else it carries.
pub(super) fn is_signed(api: &Api, request: &HttpRequest) -> Option<Result<(), ApiError>> {
    let output = output_of(request.path())?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let checked = match link_of(request.query_string())? {
        Link { expires: Some(expires), signature: Some(signature) } => output
            .ok_or(LinkError::Invalid)
            .and_then(|(job, place)| api.bodies.links.check(job, place, expires, &signature, api.clock.now())),
        Link { .. } => Err(LinkError::Invalid),
    };
    Some(checked.map_err(|error| match error {
        LinkError::Invalid => ApiError::forbidden("link_invalid", error.to_string()),
        LinkError::Expired => ApiError::forbidden("link_expired", error.to_string()),
    }))
}

/// What a query says of a signature.
#[derive(PartialEq, Eq, Debug)]
struct Link {
    expires: Option<i64>,
    signature: Option<String>,
}

/// Reads a query; none where it names neither an end nor a signature. What it names twice counts as not readable.
fn link_of(query: &str) -> Option<Link> {
    let all = |wanted: &str| -> Vec<String> {
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(|(name, _)| name == wanted).map(|(_, value)| value.into_owned()).collect()
    };
    let (expires, signature) = (all("exp"), all("sig"));
    if expires.is_empty() && signature.is_empty() {
        return None;
    }
    let once = |mut values: Vec<String>| values.pop().filter(|_| values.is_empty());
    // As it is written and in no other way, since that is what was signed.
    let seconds = |text: String| text.parse().ok().filter(|seconds: &i64| seconds.to_string() == text);
    Some(Link { expires: once(expires).and_then(seconds), signature: once(signature) })
}

/// Finds the output that a path leads to: none where it leads elsewhere, and none of a job where it is written in another way
/// than links write it.
#[expect(clippy::option_option, reason = "a path that leads elsewhere is no link, one that is spelled oddly a bad one")]
fn output_of(path: &str) -> Option<Option<(JobId, usize)>> {
    let (id, place) = path.strip_prefix("/jobs/")?.split_once("/outputs/")?;
    let job = id.parse::<JobId>().ok().filter(|job| job.to_string() == id);
    let place = place.parse::<usize>().ok().filter(|number| number.to_string() == place);
    Some(job.zip(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_each_thing_once_and_in_one_way() {
        let link = |expires, signature: Option<&str>| Some(Link { expires, signature: signature.map(str::to_owned) });
        for (query, expected) in [
            ("", None),
            ("a=b", None),
            ("exp=5&sig=x", link(Some(5), Some("x"))),
            ("utm=1&sig=x&exp=5", link(Some(5), Some("x"))),
            ("exp=5", link(Some(5), None)),
            ("sig=x", link(None, Some("x"))),
            ("exp=5&sig=x&sig=y", link(Some(5), None)),
            ("exp=5&exp=5&sig=x", link(None, Some("x"))),
            ("exp=%35&sig=x", link(Some(5), Some("x"))),
            ("exp=05&sig=x", link(None, Some("x"))),
            ("exp=%2B5&sig=x", link(None, Some("x"))),
            ("exp=99999999999999999999&sig=x", link(None, Some("x"))),
            ("exp=&sig=", link(None, Some(""))),
        ] {
            assert_eq!(link_of(query), expected, "{query}");
        }
    }

    #[test]
    fn a_path_leads_to_an_output_in_one_spelling_only() {
        let id = "019aa4f0-c1e8-7cc2-b1f3-a80f6a0d2c11";
        let path = |id: &str, place: &str| format!("/jobs/{id}/outputs/{place}");
        assert_eq!(output_of(&path(id, "7")), Some(Some((id.parse().unwrap(), 7))));
        for (id, place) in
            [(id, "07"), (id, "+7"), (id, "x"), (id, ""), (id, "7/"), (&*id.to_uppercase(), "7"), ("x", "7")]
        {
            assert_eq!(output_of(&path(id, place)), Some(None), "{id} {place}");
        }
        for elsewhere in ["/jobs", "/generate", "/jobs/x", "/jobs/x/deliveries", "//jobs/x/outputs/1"] {
            assert_eq!(output_of(elsewhere), None, "{elsewhere}");
        }
    }
}
