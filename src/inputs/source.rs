//! What a caller gave for a parameter that is an image: bytes, an address, an upload, or the plain name of a file that ComfyUI
//! has, which is left where it stands. Pure: nothing is fetched or looked up.

use crate::graph::kind_of;
use crate::job::UploadId;
use crate::names::shown;
use crate::workflow::{Kind, Pair, ParamError, Parameter};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How many images one request may have; masks do not count.
const MOST_IMAGES: usize = 16;

/// What stands in the place of an image while the other parameters are checked.
const PLACEHOLDER: &str = "input.png";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where the bytes of an image are.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// They came with the request.
    Bytes(Vec<u8>),
    /// At this address, which is not judged yet.
    Url(String),
    /// They were uploaded before.
    Upload(UploadId),
}

/// An image that was given, not by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Given {
    /// The parameter as the caller wrote it.
    pub written: String,
    /// The image.
    pub image: Source,
    /// Its mask.
    pub mask: Option<Source>,
}

impl Given {
    /// Says whether it, or its mask, must be fetched.
    pub fn is_fetched(&self) -> bool {
        std::iter::once(&self.image).chain(&self.mask).any(|source| matches!(source, Source::Url(_)))
    }
}

/// The images of a request, by the canonical name of their parameter.
pub type GivenImages = BTreeMap<String, Given>;

/// Why something is no image: the stable word, and the rest of a sentence that begins with the parameter's name.
pub(super) type Fault = (&'static str, String);

/// The images that were picked out of a request's parameters.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Picked {
    /// Those that can be taken in.
    pub images: GivenImages,
    /// The canonical names of these and of those that are at fault.
    pub names: BTreeSet<String>,
    /// What is wrong.
    pub faults: Vec<ParamError>,
}

/// Takes the images out of a request's parameters and leaves a plain name in the place of each, so that the rest can be checked
/// as ever. `images` are the names of those parameters that stood in the request's field of that name.
pub fn take_images(
    workflow: &Pair,
    params: &mut Map<String, Value>,
    images: &BTreeSet<String>,
) -> Result<GivenImages, Vec<ParamError>> {
    let Picked { images, faults, .. } = pick_images(workflow, params, images);
    if faults.is_empty() { Ok(images) } else { Err(faults) }
}

/// Does the same as far as it goes.
pub fn pick_images(workflow: &Pair, params: &mut Map<String, Value>, images: &BTreeSet<String>) -> Picked {
    let mut picked = Picked::default();
    for (name, value) in params.iter_mut() {
        let Some(parameter) = workflow.parameter(name) else { continue };
        if parameter.kind != Kind::Image {
            if images.contains(name) {
                let what = format!("is {} and no image; give it outside of `images`", parameter.kind.as_str());
                picked.faults.push(fault(name, ("invalid_type", what)));
            }
            continue;
        }
        let read = given(name, value).and_then(|read| match read {
            Some(_) => may_be_given(parameter).map(|()| read),
            None => Ok(None),
        });
        match read {
            Ok(None) => continue,
            Ok(Some(given)) => {
                picked.images.insert(parameter.name.clone(), given);
            }
            Err(why) => picked.faults.push(fault(name, why)),
        }
        *value = Value::String(PLACEHOLDER.to_owned());
        picked.names.insert(parameter.name.clone());
    }
    if picked.images.len() > MOST_IMAGES {
        let what = format!("is one of {} images; a request may have {MOST_IMAGES}", picked.images.len());
        let last = picked.images.values().next_back().map(|given| given.written.clone()).unwrap_or_default();
        picked.faults.push(fault(&last, ("too_many_images", what)));
    }
    picked
}

/// Makes the answer to a fault of one parameter.
pub(super) fn fault(name: &str, (code, what): Fault) -> ParamError {
    let message = format!("parameter `{}`: {what}", shown(name));
    ParamError { code, parameter: name.to_owned(), message }
}

/// A parameter that takes certain names only takes nothing else.
fn may_be_given(parameter: &Parameter) -> Result<(), Fault> {
    if parameter.choices.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = parameter.choices.iter().take(40).map(ToString::to_string).collect();
    Err(("not_allowed", format!("takes only the names {}, and no image of a caller's", all.join(", "))))
}

/// Reads an image; none for a plain name, for nothing, and for what is of no kind that an image can be: that is refused later.
fn given(name: &str, value: &Value) -> Result<Option<Given>, Fault> {
    let written = name.to_owned();
    match value {
        Value::String(text) => Ok(source_of_text(text)?.map(|image| Given { written, image, mask: None })),
        Value::Object(fields) => {
            let mut fields = fields.clone();
            let mask = fields.remove("mask").filter(|mask| !mask.is_null());
            let image = source_of_object(fields, "`data`, `url` or `upload`, and perhaps `mask`")?;
            let mask =
                mask.map(|mask| mask_of(&mask)).transpose().map_err(|(code, what)| (code, format!("mask: {what}")))?;
            Ok(Some(Given { written, image, mask }))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Ok(None),
    }
}

fn mask_of(value: &Value) -> Result<Source, Fault> {
    match value {
        Value::String(text) => source_of_text(text)?.ok_or_else(|| {
            let what = "the name of a file that ComfyUI has cannot be a mask; give its bytes, its URL or an upload";
            ("invalid_image", what.to_owned())
        }),
        Value::Object(fields) => source_of_object(fields.clone(), "`data`, `url` or `upload`"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(("invalid_type", format!("must be a text or an object, not {}", kind_of(value))))
        }
    }
}

/// Reads a text; none where it is the name of a file.
fn source_of_text(text: &str) -> Result<Option<Source>, Fault> {
    let begins = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    if begins("data:") {
        return data_uri(text).map(|bytes| Some(Source::Bytes(bytes)));
    }
    if begins("http://") || begins("https://") {
        return Ok(Some(Source::Url(text.to_owned())));
    }
    text.strip_prefix("upload:").map(upload).transpose()
}

fn source_of_object(mut fields: Map<String, Value>, known: &str) -> Result<Source, Fault> {
    let kinds = ["data", "url", "upload"].map(|name| (name, fields.remove(name).filter(|value| !value.is_null())));
    if let Some(name) = fields.keys().next() {
        return Err(("unknown_field", format!("an image has no `{}`; it has {known}", shown(name))));
    }
    let mut given = kinds.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let (Some((name, value)), None) = (given.next(), given.next()) else {
        return Err(("invalid_image", format!("must have exactly one of `data`, `url` and `upload`; it has {known}")));
    };
    let Value::String(text) = &value else {
        return Err(("invalid_type", format!("`{name}` must be a text, not {}", kind_of(&value))));
    };
    match name {
        "data" if text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:")) => {
            data_uri(text).map(Source::Bytes)
        }
        "data" => decoded(text).map(Source::Bytes),
        "url" => Ok(Source::Url(text.clone())),
        _ => upload(text),
    }
}

fn upload(text: &str) -> Result<Source, Fault> {
    text.parse().map(Source::Upload).map_err(|error| ("unknown_upload", format!("`{}`: {error}", shown(text))))
}

/// Reads `data:image/png;base64,...`. The type that it tells is not believed.
fn data_uri(text: &str) -> Result<Vec<u8>, Fault> {
    let is_base64 = |head: &str| head.rsplit(';').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"));
    match text.split_once(',') {
        Some((head, data)) if is_base64(head) => decoded(data),
        Some(_) | None => {
            let what = "is a data URI that is not in base64; write data:image/png;base64,<the bytes>";
            Err(("invalid_image", what.to_owned()))
        }
    }
}

fn decoded(text: &str) -> Result<Vec<u8>, Fault> {
    BASE64.decode(text).map_err(|error| ("invalid_image", format!("is not base64: {error}")))
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            // It may have secrets in its path and query.
            Self::Url(_) => f.write_str("Url(***)"),
            Self::Upload(id) => write!(f, "Upload({id})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// An image and its mask, where it is one, or what is wrong with it.
    type Read = Result<Option<(Source, Option<Source>)>, (&'static str, String)>;

    fn read(value: &Value) -> Read {
        Ok(given("photo", value)?.map(|given| (given.image, given.mask)))
    }

    #[test]
    fn an_image_is_given_as_bytes_as_an_address_as_an_upload_or_by_name() {
        let bytes = || Source::Bytes(b"abc".to_vec());
        let upload = || Source::Upload(UploadId::new([1; 16]));
        let id = UploadId::new([1; 16]).to_string();
        for (value, expected) in [
            (json!("example.png"), None),
            (json!("team/a.png"), None),
            (json!("httpimage.png"), None),
            (json!(7), None),
            (json!("data:image/png;base64,YWJj"), Some((bytes(), None))),
            (json!("DATA:;BASE64,YWJj"), Some((bytes(), None))),
            (json!({ "data": "YWJj" }), Some((bytes(), None))),
            (json!({ "data": "data:text/html;base64,YWJj", "url": null, "mask": null }), Some((bytes(), None))),
            (json!("HTTPS://a.example/x?y"), Some((Source::Url("HTTPS://a.example/x?y".into()), None))),
            (json!({ "url": "gopher://a" }), Some((Source::Url("gopher://a".into()), None))),
            (json!(format!("upload:{id}")), Some((upload(), None))),
            (json!({ "upload": id, "mask": { "data": "YWJj" } }), Some((upload(), Some(bytes())))),
            (json!({ "upload": id, "mask": "data:;base64,YWJj" }), Some((upload(), Some(bytes())))),
        ] {
            assert_eq!(read(&value).unwrap(), expected, "{value}");
        }
    }

    #[test]
    fn padding_may_be_left_out_and_nothing_else() {
        assert_eq!(decoded("YWI=").unwrap(), b"ab");
        assert_eq!(decoded("YWI").unwrap(), b"ab");
        for bad in ["YW I=", "YWI\n", "YW-_", "=", "Y"] {
            assert_eq!(decoded(bad).unwrap_err().0, "invalid_image", "{bad}");
        }
    }

    #[test]
    fn what_is_no_image_is_refused_with_a_way_to_mend_it() {
        for (value, code, says) in [
            (json!({}), "invalid_image", "exactly one of"),
            (json!({ "data": "YQ==", "url": "http://a" }), "invalid_image", "exactly one of"),
            (json!({ "data": 1 }), "invalid_type", "`data` must be a text"),
            (json!({ "upload": "../x" }), "unknown_upload", "up_"),
            (json!("upload:x"), "unknown_upload", "up_"),
            (json!({ "data": "YQ==", "name": "x" }), "unknown_field", "`name`"),
            (json!({ "data": "YQ==", "mask": "x.png" }), "invalid_image", "cannot be a mask"),
            (json!({ "data": "YQ==", "mask": 1 }), "invalid_type", "mask: must be"),
            (json!({ "data": "YQ==", "mask": { "data": "YQ==", "mask": {} } }), "unknown_field", "`mask`"),
            (json!("data:image/png,abc"), "invalid_image", "base64"),
            (json!("data:"), "invalid_image", "base64"),
            (json!({ "data": "?" }), "invalid_image", "not base64"),
        ] {
            let (refused, what) = read(&value).unwrap_err();
            assert_eq!(refused, code, "{value}: {what}");
            assert!(what.contains(says), "{value}: {what}");
        }
    }

    #[test]
    fn an_address_is_not_written_where_it_could_be_logged() {
        let given = given("photo", &json!("https://a.example/token-1?key=2")).unwrap().unwrap();
        assert!(!format!("{given:?}").contains("token"), "{given:?}");
    }
}
