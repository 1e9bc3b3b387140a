//! Where a page of a list ended, so that the next one goes on there.

use crate::clock::Timestamp;
use crate::job::JobId;
use std::fmt;
use std::str::FromStr;

/// The last job of a page. It may be cleared away before the next page is asked for; then the time of its acceptance still
/// says where the page ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// The job.
    pub job: JobId,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

/// The text is not one that a cursor writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is no `next_cursor` of a page")]
pub struct CursorError;

/// The id alone where it tells the time, as ids do that we draw; else the time is behind it.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.job.fmt(f)?;
        if self.job.time() == Some(self.accepted_at) {
            return Ok(());
        }
        write!(f, ".{:x}", self.accepted_at.millis())
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (id, time) = text.split_once('.').map_or((text, None), |(id, time)| (id, Some(time)));
        let job: JobId = id.parse().map_err(|_| CursorError)?;
        let accepted_at = match time {
            Some(time) => i64::from_str_radix(time, 16).ok().map(Timestamp::from_millis),
            None => job.time(),
        };
        accepted_at.filter(|at| at.millis() >= 0).map(|accepted_at| Self { job, accepted_at }).ok_or(CursorError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_is_the_id_where_that_tells_the_time() {
        let now = Timestamp::from_millis(1_795_229_844_921);
        let own = Cursor { job: JobId::new(now, [7; 10]), accepted_at: now };
        assert_eq!(own.to_string(), own.job.to_string());
        let chosen = Cursor { job: "0f8fad5b-d9cb-469f-a165-70867728950e".parse().unwrap(), accepted_at: now };
        assert_eq!(chosen.to_string(), "0f8fad5b-d9cb-469f-a165-70867728950e.1a1fc0985b9");
        let borrowed = Cursor { job: own.job, accepted_at: Timestamp::from_millis(5) };
        for cursor in [own, chosen, borrowed] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn what_no_page_has_told_is_no_cursor() {
        let id = "0f8fad5b-d9cb-469f-a165-70867728950e";
        for text in ["", "x", ".", id, &format!("{id}."), &format!("{id}.x"), &format!("{id}.-5"), &format!("{id}.1.2")]
        {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
        assert_eq!(format!("{id}.fffffffffffffffff").parse::<Cursor>(), Err(CursorError));
    }
}
