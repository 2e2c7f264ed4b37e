//! Rendezvous hashing: everybody draws a number from the seed, and the smallest goes first. Whoever has the same seed keeps its
//! place when others come and go.

use sha2::{Digest, Sha256};

/// A number between 0 and 1, both excluded, from these parts. For positive numbers the order of the bits is the order of the
/// numbers.
pub fn unit(parts: &[&str]) -> f64 {
    let mut hasher = Sha256::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update(b"\n");
        }
        hasher.update(part.as_bytes());
    }
    let bits = hasher.finalize().iter().take(6).fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
    let (high, low) = (u32::try_from(bits >> 16).unwrap_or(0), u32::try_from(bits & 0xffff).unwrap_or(0));
    (f64::from(high) + (f64::from(low) + 0.5) / 65_536.0) / 4_294_967_296.0
}
