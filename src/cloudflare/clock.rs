//! Time and randomness, which the pure core takes as arguments.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_channel::oneshot;
use wasm_bindgen::closure::Closure;

use super::platform;
use crate::time::Timestamp;

/// The time; it stands still during CPU work.
pub fn now() -> Timestamp {
    // Milliseconds are whole and far below 2^53.
    #[allow(clippy::cast_possible_truncation)]
    Timestamp::from_millis(js_sys::Date::now() as i64)
}

/// Waits. Unlike the crate's own timer it may be polled by one task after the other, as the timer of a stream is: each pull
/// of a stream is a task of its own.
pub fn sleep(ms: u32) -> impl Future<Output = ()> + 'static {
    let (sender, receiver) = oneshot::channel();
    let mut sender = Some(sender);
    let ring = Closure::<dyn FnMut()>::new(move || {
        if let Some(sender) = sender.take() {
            let _ = sender.send(());
        }
    });
    let id = platform::set_timeout(&ring, ms);
    Sleep { receiver, id, _ring: ring }
}

/// A timer that is taken off when nobody waits for it any more.
struct Sleep {
    receiver: oneshot::Receiver<()>,
    id: f64,
    _ring: Closure<dyn FnMut()>,
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.receiver).poll(context).map(|_| ())
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        platform::clear_timeout(self.id);
    }
}

/// 128 bits from the platform's cryptographic source.
pub fn random() -> u128 {
    let mut bytes = [0_u8; 16];
    platform::fill_random(&mut bytes);
    u128::from_le_bytes(bytes)
}
