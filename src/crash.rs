//! Named points on the way of a job at which a test lets the process die or a unit panic. Without the feature
//! `crash-points`, which only tests switch on, passing a point is nothing at all.

/// A place between two steps of a job's journey.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// A request was read and checked; nothing is stored.
    Received,
    /// The writer has done its work on the rows, whatever it is; nothing is committed.
    Writing,
    /// It is committed; whoever asked for it does not know.
    Written,
    /// The job is stored; the caller has no answer yet.
    Accepted,
    /// The intent to run is stored; nobody watches yet.
    Claimed,
    /// The run is watched; `POST /prompt` was not sent.
    Submitting,
    /// `POST /prompt` was answered; nobody knows of it yet.
    Submitted,
    /// A message about a run is about to be decided upon.
    Stepping,
    /// The bytes of an output are in a draft that has no name yet.
    Drafted,
    /// An output lies in its place; no job names it yet.
    Kept,
    /// The body is frozen; the end is not stored.
    Ending,
    /// The end is being stored: passed after the job's state, after its outputs, and after its result; no delivery yet.
    Halfway,
    /// The end and its delivery are stored; nobody was woken.
    Ended,
    /// A run that failed is about to be put back into the queue.
    Requeuing,
    /// The job is back in the queue; nobody was woken.
    Requeued,
    /// A delivery is leased; nothing was sent.
    Leased,
    /// The receiver has answered; the attempt is not recorded.
    Answered,
    /// The attempt is recorded.
    Recorded,
}

impl Point {
    /// Every point, in the order of the journey.
    pub const ALL: [Self; 18] = [
        Self::Received,
        Self::Writing,
        Self::Written,
        Self::Accepted,
        Self::Claimed,
        Self::Submitting,
        Self::Submitted,
        Self::Stepping,
        Self::Drafted,
        Self::Kept,
        Self::Ending,
        Self::Halfway,
        Self::Ended,
        Self::Requeuing,
        Self::Requeued,
        Self::Leased,
        Self::Answered,
        Self::Recorded,
    ];

    /// Returns the word by which a test names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Writing => "writing",
            Self::Written => "written",
            Self::Accepted => "accepted",
            Self::Claimed => "claimed",
            Self::Submitting => "submitting",
            Self::Submitted => "submitted",
            Self::Stepping => "stepping",
            Self::Drafted => "drafted",
            Self::Kept => "kept",
            Self::Ending => "ending",
            Self::Halfway => "halfway",
            Self::Ended => "ended",
            Self::Requeuing => "requeuing",
            Self::Requeued => "requeued",
            Self::Leased => "leased",
            Self::Answered => "answered",
            Self::Recorded => "recorded",
        }
    }
}

/// The variable of the environment in which a test says what is to happen where.
const ORDER: &str = "COMFYGATE_CRASH_AT";

/// Says whether a variable of the environment is a test's order. What is shipped takes no orders and refuses it, as it
/// does every variable that is not a setting.
pub(crate) fn is_order(variable: &str) -> bool {
    cfg!(feature = "crash-points") && variable == ORDER
}

/// Passes a point: does what `COMFYGATE_CRASH_AT` says of it. `kill:ended` ends the process the first time,
/// `kill:ended:7` the seventh; `panic:stepping` panics instead, `panic:stepping:every` each time.
#[cfg(feature = "crash-points")]
pub fn pass(point: Point) {
    armed::pass(point);
}

/// Passes a point.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn pass(_point: Point) {}

#[cfg(feature = "crash-points")]
mod armed {
    use super::Point;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// What is to happen, where, and at which pass; none for every pass.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Order {
        kills: bool,
        point: Point,
        at: Option<u64>,
    }

    static ORDER: OnceLock<Option<Order>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    #[expect(clippy::disallowed_methods, reason = "an order is a test's, not a setting of whoever runs the gateway")]
    pub(super) fn pass(point: Point) {
        let Some(order) = ORDER.get_or_init(|| std::env::var(super::ORDER).ok().map(|text| read(&text))) else {
            return;
        };
        if order.point != point {
            return;
        }
        let number = PASSED.fetch_add(1, Ordering::Relaxed) + 1;
        if order.at.is_some_and(|at| at != number) {
            return;
        }
        if order.kills {
            // No destructor runs, no buffer is flushed, nobody is told.
            std::process::abort();
        }
        blow_up(point);
    }

    #[expect(clippy::panic, reason = "a test has ordered it")]
    fn blow_up(point: Point) {
        panic!("a test lets this panic at `{}`", point.as_str());
    }

    /// Reads an order. One that cannot be read ends the process: a test that does not test what it says is worse.
    fn read(text: &str) -> Order {
        parse(text).unwrap_or_else(|| std::process::abort())
    }

    fn parse(text: &str) -> Option<Order> {
        let mut parts = text.split(':');
        let kills = match parts.next()? {
            "kill" => true,
            "panic" => false,
            _ => return None,
        };
        let name = parts.next()?;
        let point = Point::ALL.into_iter().find(|point| point.as_str() == name)?;
        let at = match parts.next() {
            None => Some(1),
            Some("every") => None,
            Some(number) => Some(number.parse().ok()?),
        };
        Some(Order { kills, point, at })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn an_order_names_what_happens_where_and_when() {
            let order = |kills, point, at| Some(Order { kills, point, at });
            assert_eq!(parse("kill:ended"), order(true, Point::Ended, Some(1)));
            assert_eq!(parse("kill:kept:7"), order(true, Point::Kept, Some(7)));
            assert_eq!(parse("panic:stepping:every"), order(false, Point::Stepping, None));
            for wrong in ["", "kill", "kill:nowhere", "stop:ended", "kill:ended:soon"] {
                assert_eq!(parse(wrong), None, "{wrong}");
            }
        }

        #[test]
        fn every_point_has_a_word_of_its_own() {
            let mut words = Point::ALL.map(Point::as_str).to_vec();
            words.sort_unstable();
            words.dedup();
            assert_eq!(words.len(), Point::ALL.len());
        }
    }
}
