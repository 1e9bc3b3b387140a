//! How many connections each address has open: beyond its number, new ones are told so and closed, so that one caller
//! cannot take every place. How many there may be in all is said in `capacity.rs`.

use super::ApiError;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use std::any::Any;
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown};
use std::sync::{Arc, Mutex, PoisonError};

/// What is said before the end. It is not certain to arrive: the caller may be writing at that moment.
const TOO_MANY: &str = "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nconnection: close\r\n\
    retry-after: 5\r\ncontent-length: 89\r\n\r\n\
    {\"error\":\"too many connections are open from your address\",\"code\":\"too_many_connections\"}";

/// Counts connections by address; as many entries as there are addresses with an open one.
#[derive(Clone)]
pub struct Crowd {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// None for any number.
    most: Option<usize>,
}

/// A connection's place; given back when the connection ends.
struct Place {
    address: IpAddr,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection without a place. What it may have sent already is not served.
struct Refused;

impl Crowd {
    /// Lets `most` connections of each address in; 0 for any number.
    pub fn new(most: usize) -> Self {
        Self { counts: Arc::default(), most: Some(most).filter(|most| *most > 0) }
    }

    /// Takes in a new connection or turns it away. For the server's `on_connect`.
    pub fn meet(&self, connection: &dyn Any, extensions: &mut Extensions) {
        let Some(stream) = connection.downcast_ref::<TcpStream>() else { return };
        let Ok(peer) = stream.peer_addr() else { return };
        match self.enter(caller(peer.ip())) {
            Some(place) => {
                extensions.insert(place);
            }
            None => {
                extensions.insert(Refused);
                // An error means that the caller is gone already.
                let _ = turn_away(stream);
            }
        }
    }

    fn enter(&self, address: IpAddr) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&address).copied().unwrap_or(0);
        if self.most.is_some_and(|most| count >= most) {
            return None;
        }
        counts.insert(address, count + 1);
        Some(Place { address, counts: Arc::clone(&self.counts) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Refuses a request that came over a connection without a place before it was closed.
pub(super) fn check(request: &actix_web::dev::ServiceRequest) -> Result<(), ApiError> {
    match request.conn_data::<Refused>() {
        Some(Refused) => Err(ApiError::too_many_connections()),
        None => Ok(()),
    }
}

/// Who counts as one caller: in IPv6 a network of 64 bits, since every machine has that many addresses.
fn caller(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}

/// Ends a connection that the server holds, which then reads its end and lets it go. Never waits: what does not fit into
/// the buffer of a new connection is not said.
fn turn_away(stream: &TcpStream) -> io::Result<()> {
    #[cfg(unix)]
    let mut same = {
        use std::os::fd::AsFd;
        std::net::TcpStream::from(stream.as_fd().try_clone_to_owned()?)
    };
    #[cfg(windows)]
    let mut same = {
        use std::os::windows::io::AsSocket;
        std::net::TcpStream::from(stream.as_socket().try_clone_to_owned()?)
    };
    let told = same.write_all(TOO_MANY.as_bytes());
    same.shutdown(Shutdown::Both).and(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_places_and_gets_them_back() {
        let crowd = Crowd::new(2);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = crowd.enter(one).unwrap();
        let _second = crowd.enter(one).unwrap();
        assert!(crowd.enter(one).is_none());
        drop(crowd.enter(other).unwrap());
        drop(first);
        assert!(crowd.enter(one).is_some());
        assert_eq!(crowd.counts.lock().unwrap().len(), 1, "an address without a connection is forgotten");
        let any = Crowd::new(0);
        let places: Vec<_> = (0..1000).map(|_| any.enter(one)).collect();
        assert!(places.iter().all(Option::is_some));
    }

    #[test]
    fn a_network_of_64_bits_is_one_caller_and_a_mapped_address_is_itself() {
        let of = |text: &str| caller(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    #[test]
    fn what_is_said_before_the_end_has_its_length() {
        let (head, body) = TOO_MANY.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], "too_many_connections");
    }
}
