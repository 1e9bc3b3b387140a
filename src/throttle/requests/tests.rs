//! Requests in virtual time: bursts, rates, and how little is kept of a million callers.

use super::*;
use crate::clock::{ManualClock, Timestamp};

#[test]
fn a_burst_is_let_through_and_then_one_for_each_part_of_the_time() {
    let (clock, requests) = requests();
    let rate = rate(60, 10);
    for left in (0..10).rev() {
        assert_eq!(requests.of_key(&key("a"), rate).unwrap().left, left);
    }
    let wait = requests.of_key(&key("a"), rate).unwrap_err();
    assert_eq!(wait, Duration::from_secs(1));
    clock.advance(wait.saturating_sub(Duration::from_millis(1)));
    assert!(requests.of_key(&key("a"), rate).is_err());
    clock.advance(Duration::from_millis(1));
    assert!(requests.of_key(&key("a"), rate).is_ok());
    assert!(requests.of_key(&key("a"), rate).is_err());
    assert!(requests.of_key(&key("b"), rate).is_ok(), "another key has its own");
    clock.advance(Duration::from_mins(1));
    let standing = requests.of_key(&key("a"), rate).unwrap();
    assert_eq!((standing.left, standing.whole_in), (9, Duration::from_secs(1)));
}

#[test]
fn over_a_long_time_no_more_than_the_rate_gets_through_however_they_come() {
    let (clock, requests) = requests();
    let rate = rate(600, 20);
    let mut through = 0;
    for _ in 0..60 * 100 {
        through += u32::from(requests.of_key(&key("a"), rate).is_ok());
        clock.advance(Duration::from_millis(10));
    }
    assert!((619..=621).contains(&through), "{through} in a minute");
}

#[test]
fn a_million_addresses_leave_little_behind_and_nothing_after_a_while() {
    let (clock, requests) = requests();
    let rate = rate(30, 30);
    for number in 0..1_000_000_u32 {
        let address = if number.is_multiple_of(2) {
            IpAddr::V4(number.into())
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(u128::from(number) << 64))
        };
        let _ = requests.of_address(address, rate);
        if number.is_multiple_of(100_000) {
            clock.advance(Duration::from_millis(200));
            requests.tidy();
        }
    }
    let most = MOST_ADDRESSES + LOOK as usize + usize::try_from(CROWD).unwrap();
    assert!(requests.kept() <= most, "{} are kept", requests.kept());
    assert!(requests.kept() >= MOST_ADDRESSES, "the addresses were not all different");
    // Who comes in the crowd has a limit too.
    let address = IpAddr::V4(0xC0A8_0001.into());
    let through = (0..10_000).filter(|_| requests.of_address(address, rate).is_ok()).count();
    assert!(through <= 30, "{through}");
    clock.advance(Duration::from_mins(2));
    requests.tidy();
    assert_eq!(requests.kept(), 0);
    assert!(requests.of_address(address, rate).is_ok(), "and told apart again");
    assert_eq!(requests.kept(), 1);
}

#[test]
fn keys_that_come_no_more_are_forgotten_and_their_rates_with_them() {
    let (clock, requests) = requests();
    for number in 0..1000 {
        let each = rate(1 + number, 1 + number);
        assert!(requests.of_key(&key(&number.to_string()), each).is_ok());
    }
    requests.tidy();
    assert_eq!((requests.kept(), requests.read().len()), (1000, 1000));
    clock.advance(Duration::from_mins(3));
    requests.tidy();
    assert_eq!((requests.kept(), requests.read().len()), (0, 0));
}

#[test]
fn one_customer_is_one_address() {
    let network = |text: &str| network(text.parse().unwrap()).to_string();
    assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
    assert_eq!(network("192.0.2.7"), "192.0.2.7");
}

#[test]
fn what_a_key_says_goes_before_the_usual_rate() {
    let usual = Some(Rate::USUAL);
    let none = KeyLimits::default();
    assert_eq!(rate_of(&none, usual), usual);
    assert_eq!(rate_of(&none, None), None);
    let own = KeyLimits { per_minute: Some(60), ..none };
    assert_eq!(rate_of(&own, usual), Some(rate(60, 60)));
    assert_eq!(rate_of(&KeyLimits { burst: Some(5), ..own }, None), Some(rate(60, 5)));
    assert_eq!(rate_of(&KeyLimits { burst: Some(5), ..none }, usual), Some(rate(600, 5)));
}

#[test]
fn the_quickest_and_the_slowest_rate_can_be_expressed() {
    let (clock, requests) = requests();
    let most = NonZeroU32::new(1_000_000).unwrap();
    let quick = Rate { requests: most, per: Duration::from_secs(1), burst: most };
    let slow = Rate { requests: NonZeroU32::MIN, per: Duration::from_hours(1), burst: NonZeroU32::MIN };
    assert!((0..1000).all(|_| requests.of_key(&key("quick"), quick).is_ok()));
    assert!(requests.of_key(&key("slow"), slow).is_ok());
    assert_eq!(requests.of_key(&key("slow"), slow), Err(Duration::from_hours(1)));
    clock.advance(Duration::from_hours(1));
    assert!(requests.of_key(&key("slow"), slow).is_ok());
}

fn requests() -> (Arc<ManualClock>, Requests) {
    let clock = ManualClock::at(Timestamp::from_millis(1_795_229_844_921));
    let requests = Requests::new(Arc::clone(&clock) as Arc<dyn Clock>);
    (clock, requests)
}

fn rate(per_minute: u32, burst: u32) -> Rate {
    Rate { burst: NonZeroU32::new(burst).unwrap(), ..Rate::per_minute(NonZeroU32::new(per_minute).unwrap()) }
}

fn key(name: &str) -> KeyId {
    let mut letters = [0; KeyId::LENGTH];
    for (place, byte) in letters.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    KeyId::new(letters)
}
