//! From bytes as they came to an output that is kept: converted or stripped where its caller wants that, and then put in its
//! place. A crash in between leaves a draft, which the next start removes.

use super::blobs::{BlobError, Blobs, PutError, blocking};
use super::convert::{convert, format};
use super::folder::Draft;
use super::strip::{Stripped, strip};
use super::treatment::{Kept, Treatment};
use crate::job::Conversion;
use crate::lifecycle::caught;
use bytes::Bytes;
use futures_util::Stream;
use std::io::{BufReader, BufWriter, Write};
use std::sync::Arc;
use tracing::warn;

impl Blobs {
    /// Keeps an output that is whole in memory.
    pub async fn keep(&self, content_type: String, content: Bytes, treatment: Treatment) -> Result<Kept, BlobError> {
        if treatment.is_none() {
            let (sha256, bytes) = self.put(content).await?;
            return Ok(Kept::as_it_came(content_type, bytes, sha256));
        }
        let folder = self.folder();
        let draft = blocking(move || Draft::new(folder)?.append_all(&[content])).await?;
        self.keep_draft(draft, content_type, treatment).await
    }

    /// Keeps an output that comes as a stream, at most `limit` bytes of it.
    pub async fn keep_stream<S, E>(
        &self,
        content_type: String,
        stream: S,
        limit: u64,
        treatment: Treatment,
    ) -> Result<Kept, PutError<E>>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        let draft = self.draft(stream, limit).await?;
        Ok(self.keep_draft(draft, content_type, treatment).await?)
    }

    async fn keep_draft(&self, draft: Draft, content_type: String, treatment: Treatment) -> Result<Kept, BlobError> {
        let place = if treatment.is_none() { None } else { Arc::clone(self.bench()).acquire_owned().await.ok() };
        blocking(move || {
            let treated = treat(draft, content_type, treatment)?;
            drop(place);
            let (sha256, bytes) = treated.draft.keep()?;
            let Treated { content_type, ending, metadata_stripped, .. } = treated;
            Ok(Kept { content_type, bytes, sha256, ending, metadata_stripped })
        })
        .await
    }
}

struct Treated {
    draft: Draft,
    content_type: String,
    ending: Option<&'static str>,
    metadata_stripped: Option<bool>,
}

fn treat(draft: Draft, content_type: String, treatment: Treatment) -> Result<Treated, BlobError> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if let Some(conversion) = treatment.conversion.filter(|_| essence == "image/png")
        && let Some(draft) = converted(&draft, conversion)?
    {
        let (content_type, ending) = format(conversion);
        // Only pixels and a colour profile have gone over.
        let metadata_stripped = treatment.strip.then_some(true);
        return Ok(Treated { draft, content_type: content_type.into(), ending: Some(ending), metadata_stripped });
    }
    if !treatment.strip {
        return Ok(Treated { draft, content_type, ending: None, metadata_stripped: None });
    }
    // A text is its content and nothing else.
    let (draft, is_stripped) =
        if essence.starts_with("text/") { (draft, true) } else { stripped(draft, &content_type)? };
    Ok(Treated { draft, content_type, ending: None, metadata_stripped: Some(is_stripped) })
}

/// Returns the file that a PNG becomes; none where it stays as it is.
fn converted(draft: &Draft, conversion: Conversion) -> Result<Option<Draft>, BlobError> {
    let file = BufReader::new(draft.reread()?);
    let made = caught("convert", || convert(file, conversion)).unwrap_or_else(|_| Err("the gateway failed".into()));
    match made {
        Ok(made) => {
            let mut draft = draft.another()?;
            draft.append(&made)?;
            Ok(Some(draft))
        }
        Err(reason) => {
            warn!(reason, "an image is kept as it came: it cannot be converted");
            Ok(None)
        }
    }
}

/// Returns the file without what is not its content, or the file as it came, and which of the two it is.
fn stripped(draft: Draft, content_type: &str) -> Result<(Draft, bool), BlobError> {
    let mut file = draft.reread()?;
    let mut clean = BufWriter::new(draft.another()?);
    let done =
        caught("strip", || strip(&mut file, &mut clean)).unwrap_or(Ok(Stripped::Malformed("the gateway failed")));
    let reason = match done.and_then(|done| clean.flush().map(|()| done)) {
        Ok(Stripped::Clean) => {
            let clean = clean.into_inner().map_err(|error| draft.failed(error.into_error()))?;
            return Ok((clean, true));
        }
        Ok(Stripped::Unknown) => "its format is not known",
        Ok(Stripped::Malformed(reason)) => reason,
        Err(error) => return Err(draft.failed(error)),
    };
    warn!(content_type, reason, "an output is kept as it came: its metadata cannot be taken out");
    Ok((draft, false))
}
