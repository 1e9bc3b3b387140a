//! Whose image a frame without metadata is. Pure.

use crate::comfy::event::{Event, ImageOrigin};

/// What one socket has said last of a progress bar: frames of the older kind belong to that node.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Attribution {
    last_progress: Option<ImageOrigin>,
}

impl Attribution {
    /// Takes note of an event; gives a frame without an origin the one that the bar before it names.
    pub fn of(&mut self, event: Event) -> Event {
        if let Event::Progress { prompt: Some(prompt), node: Some(node), .. } = &event {
            let (prompt, node) = (prompt.clone(), node.clone());
            self.last_progress = Some(ImageOrigin { prompt, display_node: node.clone(), node });
        }
        let Event::Image(mut frame) = event else { return event };
        frame.origin = frame.origin.or_else(|| self.last_progress.clone());
        Event::Image(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comfy::event::ImageFrame;
    use bytes::Bytes;

    #[test]
    fn a_frame_without_metadata_belongs_to_the_bar_before_it() {
        let mut attribution = Attribution::default();
        let frame = |origin| Event::Image(ImageFrame { origin, content_type: "image/png".into(), bytes: Bytes::new() });
        assert_eq!(attribution.of(frame(None)), frame(None));
        let bar = Event::Progress { prompt: Some("p".into()), node: Some("3".into()), value: 0.0, max: 1.0 };
        assert_eq!(attribution.of(bar.clone()), bar);
        let origin = |node: &str| ImageOrigin { prompt: "p".into(), node: node.into(), display_node: node.into() };
        assert_eq!(attribution.of(frame(None)), frame(Some(origin("3"))));
        assert_eq!(attribution.of(frame(Some(origin("7")))), frame(Some(origin("7"))));
    }
}
