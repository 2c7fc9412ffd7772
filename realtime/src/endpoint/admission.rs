//! Connection caps: how many connections the node holds, and how many one address may hold.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;

use crate::errors::Reason;

/// Counts connections and refuses those over a cap. Cloning shares the counts.
#[derive(Debug, Clone)]
pub struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max_total: usize,
    max_per_address: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    total: usize,
    by_address: HashMap<AddressKey, usize>,
}

impl Admission {
    /// Caps for the whole node and for one client address.
    pub fn new(max_total: usize, max_per_address: usize) -> Self {
        Self(Arc::new(Inner {
            max_total,
            max_per_address,
            held: Mutex::default(),
        }))
    }

    /// Takes a place for a connection whose client is known: both caps apply.
    pub fn admit(&self, client: IpAddr) -> Result<Permit, Full> {
        let mut held = self.0.held.lock();
        self.check_total(&held)?;
        let key = self.take_address(&mut held, client)?;
        held.total += 1;
        Ok(self.permit(true, Some(key)))
    }

    /// Takes a place for a connection from a trusted proxy. Whom it carries is known per request:
    /// see [`Admission::admit_behind_proxy`].
    pub fn admit_proxy(&self) -> Result<Permit, Full> {
        let mut held = self.0.held.lock();
        self.check_total(&held)?;
        held.total += 1;
        Ok(self.permit(true, None))
    }

    /// Counts a client behind a trusted proxy, whose connection is already counted in total.
    pub fn admit_behind_proxy(&self, client: IpAddr) -> Result<Permit, Full> {
        let key = self.take_address(&mut self.0.held.lock(), client)?;
        Ok(self.permit(false, Some(key)))
    }

    /// Connections held now.
    pub fn held(&self) -> usize {
        self.0.held.lock().total
    }

    fn check_total(&self, held: &Held) -> Result<(), Full> {
        if held.total < self.0.max_total {
            Ok(())
        } else {
            Err(Full::Node)
        }
    }

    fn take_address(&self, held: &mut Held, client: IpAddr) -> Result<AddressKey, Full> {
        let key = AddressKey::of(client);
        let count = held.by_address.entry(key).or_default();
        if *count >= self.0.max_per_address {
            return Err(Full::Address);
        }
        *count += 1;
        Ok(key)
    }

    fn permit(&self, counted: bool, address: Option<AddressKey>) -> Permit {
        Permit {
            admission: self.clone(),
            counted,
            address,
        }
    }
}

/// A place held by a connection; dropping it gives the place back.
#[derive(Debug)]
pub struct Permit {
    admission: Admission,
    counted: bool,
    address: Option<AddressKey>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.admission.0.held.lock();
        held.total -= usize::from(self.counted);
        let Some(key) = self.address else { return };
        if let Some(count) = held.by_address.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                held.by_address.remove(&key);
            }
        }
    }
}

/// Which cap refused a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The node holds as many connections as it may.
    #[error("this server holds as many connections as it may")]
    Node,
    /// The client's address does.
    #[error("your address holds as many connections as it may")]
    Address,
}

impl Full {
    /// Its name in metrics and answers.
    pub fn reason(self) -> Reason {
        match self {
            Self::Node => Reason::TooManyConnections,
            Self::Address => Reason::TooManyConnectionsFromAddress,
        }
    }
}

/// What counts as one address: an IPv4 address, or the /64 network of an IPv6 one, since a single
/// IPv6 client commands a whole /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum AddressKey {
    V4([u8; 4]),
    V6Network([u16; 4]),
}

impl AddressKey {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self::V6Network([a, b, c, d])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_dropped_permit_gives_its_place_back() {
        let admission = Admission::new(2, 10);
        let first = admission.admit(ip("1.1.1.1")).unwrap();
        let _second = admission.admit(ip("2.2.2.2")).unwrap();
        assert_eq!(admission.admit(ip("3.3.3.3")).unwrap_err(), Full::Node);
        drop(first);
        assert!(admission.admit(ip("3.3.3.3")).is_ok());
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let admission = Admission::new(10, 1);
        let _held = admission.admit(ip("1.1.1.1")).unwrap();
        assert_eq!(admission.admit(ip("1.1.1.1")).unwrap_err(), Full::Address);
        assert_eq!(
            admission.admit(ip("::ffff:1.1.1.1")).unwrap_err(),
            Full::Address
        );
        assert!(admission.admit(ip("1.1.1.2")).is_ok());
        assert_eq!(admission.held(), 1);
    }

    #[test]
    fn ipv6_counts_by_network() {
        let admission = Admission::new(10, 1);
        let _held = admission.admit(ip("2001:db8:0:1::1")).unwrap();
        assert_eq!(
            admission.admit(ip("2001:db8:0:1:ffff::2")).unwrap_err(),
            Full::Address
        );
        assert!(admission.admit(ip("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn clients_behind_a_proxy_count_by_their_own_address() {
        let admission = Admission::new(10, 1);
        let _proxy = admission.admit_proxy().unwrap();
        let _other_connection = admission.admit_proxy().unwrap();
        let client = admission.admit_behind_proxy(ip("1.1.1.1")).unwrap();
        assert_eq!(
            admission.admit_behind_proxy(ip("1.1.1.1")).unwrap_err(),
            Full::Address
        );
        drop(client);
        assert!(admission.admit_behind_proxy(ip("1.1.1.1")).is_ok());
        assert_eq!(admission.held(), 2);
        assert!(admission.0.held.lock().by_address.is_empty());
    }
}
