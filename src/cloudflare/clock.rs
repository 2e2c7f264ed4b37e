//! Time and randomness, which the pure core takes as arguments.

use std::time::Duration;

use crate::time::Timestamp;

/// The time; it stands still during CPU work.
pub fn now() -> Timestamp {
    Timestamp::from_millis(i64::try_from(worker::Date::now().as_millis()).unwrap_or(0))
}

/// Waits.
pub async fn sleep(ms: u32) {
    worker::Delay::from(Duration::from_millis(u64::from(ms))).await;
}

/// 128 bits from the platform's cryptographic source.
pub fn random() -> u128 {
    let mut bytes = [0_u8; 16];
    crypto::fill(&mut bytes);
    u128::from_le_bytes(bytes)
}

/// The binding's macro writes the unsafe call.
#[allow(unsafe_code)]
mod crypto {
    use wasm_bindgen::prelude::wasm_bindgen;

    #[wasm_bindgen]
    extern "C" {
        /// Fills with random bytes; at most 65,536, and it does not fail below that.
        #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
        pub fn fill(bytes: &mut [u8]);
    }
}
