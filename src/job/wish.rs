//! What a caller may wish of the webhook and of the images in it.

use serde::{Deserialize, Serialize};

/// How images reach the receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryMode {
    /// As base64 in the body, up to the limit of the settings.
    #[default]
    Inline,
    /// As links that are signed and expire.
    Links,
    /// As both.
    Both,
}

impl DeliveryMode {
    /// Every mode; the default first.
    pub const ALL: [Self; 3] = [Self::Inline, Self::Links, Self::Both];

    /// Returns the word used in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Links => "links",
            Self::Both => "both",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }
}

/// What a receiver may be told of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookEvent {
    /// The job began to run.
    Started,
    /// How far it is; at most one a second.
    Progress,
    /// An output is stored.
    Output,
    /// The job has ended, well or not. Always told: it is the only one that is kept until it has arrived.
    Completed,
}

impl WebhookEvent {
    /// Every event, in the order in which they happen.
    pub const ALL: [Self; 4] = [Self::Started, Self::Progress, Self::Output, Self::Completed];

    /// Returns the word used in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Progress => "progress",
            Self::Output => "output",
            Self::Completed => "completed",
        }
    }
}

/// What images are turned into before they are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case")]
pub enum Conversion {
    /// JPEG of this quality, from 1 to 100.
    Jpeg {
        /// From 1 to 100.
        quality: u8,
    },
    /// `WebP` without loss.
    Webp,
}
