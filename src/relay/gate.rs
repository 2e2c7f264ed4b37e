//! The gates: what is counted before it is done, and the answer to who has had too much of it.
//!
//! What always holds: a gate that is closed is told apart from every other refusal, with when to come back; what the platform
//! cannot count is let through, because a counter that fails must not stop who pays.

use std::net::IpAddr;

use super::head::RequestHead;
use crate::id::sha256_hex;
use crate::key::KeyRecord;
use crate::limits::{Gate, Row};
use crate::ports::{Gates, Runtime};
use crate::refusal::{Code, Refusal};

/// Counts one at a gate; errors when there were too many.
pub async fn pass<P: Gates>(ports: &P, gate: Gate, subject: &str) -> Result<(), Refusal> {
    open(ports, gate, subject)?;
    if ports.admit(gate, subject).await { Ok(()) } else { Err(closed(gate, u64::from(gate.row().rest_s))) }
}

/// Errors when a subject rests at a gate; counts nothing.
pub fn open<P: Gates>(ports: &P, gate: Gate, subject: &str) -> Result<(), Refusal> {
    ports.rest(gate, subject).map_or(Ok(()), |seconds| Err(closed(gate, seconds)))
}

/// Counts a wrong secret, or what else is only counted when it has happened. Who has had too many is told so instead.
pub async fn missed<P: Gates>(ports: &P, gate: Gate, subject: &str, refusal: Refusal) -> Refusal {
    if ports.admit(gate, subject).await { refusal } else { closed(gate, u64::from(gate.row().rest_s)) }
}

/// Counts a refused request of a key, behind its answer.
pub fn refused<P: Gates + Runtime>(ports: &P, key: &KeyRecord, refusal: &Refusal) {
    // What failed on our side is nobody's to answer for. What passes by itself counts: nothing else bounds how often it is tried.
    let is_ours = refusal.status() >= 500;
    if is_ours || !ports.refused(key) {
        return;
    }
    let (outside, key) = (ports.clone(), key.id.clone());
    ports.spawn(async move {
        outside.admit(Gate::Refused, key.as_str()).await;
    });
}

fn closed(gate: Gate, seconds: u64) -> Refusal {
    let Row { what, most, .. } = gate.row();
    let source = match gate {
        Gate::Stranger | Gate::Page => "address",
        Gate::Guess => "caller",
        Gate::Refused | Gate::Free => "key",
        Gate::Read | Gate::Order => "account",
    };
    let message = format!("Too many {what}: more than {most} in a minute.");
    let next_step = match gate {
        Gate::Refused => format!("Read why they were refused, correct that, and try again in {seconds} seconds."),
        _ => format!("Try again in {seconds} seconds, and more slowly."),
    };
    Refusal::new(Code::RateLimitExceeded, message, next_step).limit(source).retry_after(seconds)
}

/// Who sends something, before it is known whose key that is.
pub fn sender(head: &RequestHead) -> String {
    head.credential.as_deref().map_or_else(|| by_address(head.address), |key| sha256_hex(&[key.as_bytes()]))
}

/// Who is counted where there is no key: an address, or the network that one customer has of the newer kind.
pub fn by_address(address: Option<IpAddr>) -> String {
    match address {
        None => "unknown".to_owned(),
        Some(IpAddr::V4(address)) => address.to_string(),
        Some(IpAddr::V6(address)) => match address.to_ipv4_mapped() {
            Some(address) => address.to_string(),
            None => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_whole_network_is_counted_as_one() {
        for (address, counted) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ] {
            assert_eq!(by_address(address.parse().ok()), counted);
        }
        assert_eq!(by_address(None), "unknown");
    }

    #[test]
    fn a_closed_gate_says_what_there_was_too_much_of_and_when_to_come_back() {
        for gate in Gate::ALL {
            let refusal = closed(gate, 7);
            assert_eq!((refusal.status(), refusal.retry_after_s), (429, Some(7)), "{gate:?}");
            assert!(refusal.message.contains(gate.row().what) && refusal.told().contains("7 seconds"), "{}", refusal.told());
        }
    }
}
