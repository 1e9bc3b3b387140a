//! Brings images to the input folder of a server, and masks for them.

use super::answer::whole;
use super::{Client, ClientError};
use crate::job::FileRef;
use crate::lenient;
use bytes::Bytes;
use futures_util::Stream;
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use std::time::Duration;

/// The longest that one upload may take, besides the time for its bytes.
pub(super) const UPLOAD_LIMIT: Duration = Duration::from_mins(1);

/// How many bytes a link must carry in a second.
const SLOWEST: u64 = 128 << 10;

/// A file on its way to the server.
pub struct Upload<S> {
    /// Its name there; letters, digits and dots, since the server takes it literally.
    pub name: String,
    /// The folder below the input folder.
    pub subfolder: String,
    /// Its media type.
    pub content_type: String,
    /// How many bytes there are.
    pub length: u64,
    /// The bytes.
    pub stream: S,
}

impl Client {
    /// Returns how long an upload of so many bytes may take.
    pub fn time_to_upload(&self, bytes: u64) -> Duration {
        self.upload_limit.saturating_add(Duration::from_millis(bytes.saturating_mul(1000) / SLOWEST))
    }

    /// Puts an image into the input folder. Returns where it lies, which may be under another name: nothing is overwritten,
    /// and the same bytes under the same name are there only once. Whether it is an image is not looked at.
    pub async fn upload_image<S, E>(&self, upload: Upload<S>) -> Result<FileRef, ClientError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        self.upload("upload/image", upload, Form::new()).await
    }

    /// Puts `original` with the alpha channel of a mask into the input folder, as a PNG. Where `original` is not there any more
    /// the server answers as ever and keeps nothing; where one of the two cannot be read, or their sizes differ, with 500.
    pub async fn upload_mask<S, E>(&self, mask: Upload<S>, original: &FileRef) -> Result<FileRef, ClientError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let FileRef { filename, subfolder, folder } = original;
        let original = json!({ "filename": filename, "subfolder": subfolder, "type": folder });
        self.upload("upload/mask", mask, Form::new().text("original_ref", original.to_string())).await
    }

    async fn upload<S, E>(&self, path: &str, upload: Upload<S>, form: Form) -> Result<FileRef, ClientError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: std::error::Error + Send + Sync + 'static,
    {
        let Upload { name, subfolder, content_type, length, stream } = upload;
        let part = Part::stream_with_length(Body::wrap_stream(stream), length).file_name(name);
        let part = part.mime_str(&content_type).map_err(|error| ClientError::Malformed(error.to_string()))?;
        let form = form.text("type", "input").text("subfolder", subfolder).part("image", part);
        let segments: Vec<&str> = path.split('/').collect();
        let call = self.carrier.post(self.url.call(&segments)).timeout(self.time_to_upload(length)).multipart(form);
        let (response, _) = self.send(call).await?;
        let body = whole(self.checked(&format!("POST /{path}"), response).await?).await?;
        stored(&body).ok_or_else(|| ClientError::Malformed(format!("POST /{path} without a name")))
    }
}

/// Reads where a file was put. The name comes back into a graph, so it must be the plain name of an input.
fn stored(body: &str) -> Option<FileRef> {
    let answer = lenient::parse(body).ok()?;
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default().replace('\\', "/");
    let (filename, subfolder, folder) = (text("name"), text("subfolder"), text("type"));
    let is_plain = |path: &str| !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let is_good = is_plain(&filename) && (subfolder.is_empty() || is_plain(&subfolder)) && folder == "input";
    (is_good && !filename.ends_with(']')).then_some(FileRef { filename, subfolder, folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plain_name_of_an_input_is_taken_back() {
        let there = |name: &str, subfolder: &str, folder: &str| {
            stored(&json!({ "name": name, "subfolder": subfolder, "type": folder }).to_string())
        };
        let file = there("a (1).png", "comfygate", "input").unwrap();
        assert_eq!((file.filename.as_str(), file.subfolder.as_str()), ("a (1).png", "comfygate"));
        assert_eq!(there("a.png", "x\\y", "input").unwrap().subfolder, "x/y");
        assert!(there("a.png", "", "input").is_some());
        for (name, subfolder, folder) in [
            ("", "comfygate", "input"),
            ("../a.png", "comfygate", "input"),
            ("a.png", "../x", "input"),
            ("a.png", "/x", "input"),
            ("a.png [output]", "comfygate", "input"),
            ("a.png", "comfygate", "output"),
        ] {
            assert_eq!(there(name, subfolder, folder), None, "{name} {subfolder} {folder}");
        }
        assert_eq!(stored("<html>"), None);
        assert_eq!(stored("[]"), None);
    }
}
