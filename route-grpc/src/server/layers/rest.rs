//! What is left of a request that is refused. Some clients (curl 7.88) lose the answer if their request is cut short by it, so
//! a little is read on.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use http_body::Body as _;
use tokio::time::timeout;
use tonic::body::Body;

/// What is read on, at most: as much as such a mistake usually has.
const REST_BYTES: usize = 16 << 10;
/// For so long: what has been sent already is there.
const REST_TIME: Duration = Duration::from_millis(500);

/// Reads to the end, if that is near.
pub(super) async fn hear_out(mut body: Body) {
    let rest = async {
        let mut left = REST_BYTES;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let bytes = frame.data_ref().map_or(0, |data| data.len());
            match left.checked_sub(bytes) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // Who goes on sending is cut short.
    let _ = timeout(REST_TIME, rest).await;
}
