//! Readers that are too slow: one that never reads is cut off, one that merely reads slower than a
//! burst is not.

use std::net::SocketAddr;
use std::time::Duration;

use system_tests::deployment::Setup;
use system_tests::player::connection::BARRIER_LIMIT;
use system_tests::player::messages::{self, SINGLE_TEXT};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, timeout};

use crate::Siege;

/// The user to whom the burst is sent.
const READER: u32 = 77;
/// A burst: more than any queue holds.
const BURST: usize = 100 << 20;
/// Data of one message of it.
const MESSAGE: usize = 10_000;
/// Memory that a burst may cost: the link's queue, and the event log.
const GROWTH: u64 = 256 << 20;
/// The slow reader's share of bytes in each step of its clock: 50 MB/s.
const SHARE: usize = 1 << 20;
const PACE: Duration = Duration::from_millis(20);
/// How long a burst may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

system_tests::in_both_setups! {
    a_reader_that_never_reads: a_reader_that_never_reads();
    a_reader_slower_than_a_burst: a_reader_slower_than_a_burst();
}

async fn a_reader_that_never_reads(setup: Setup) {
    let siege = Siege::begin(setup, &[]).await;
    let cut_off_before = siege.metric(crate::CLOSED, crate::SLOW_READER).await;
    let mut stuck = siege.connect().await;
    stuck.write(&reported()).await.expect("an open connection");
    stuck.barrier(BARRIER_LIMIT).await;
    stuck.pause().await;
    let sender = siege.connect().await;

    let written = timeout(PATIENCE, sender.write(&burst())).await;
    assert!(
        matches!(written, Ok(Ok(()))),
        "the sender is served: {written:?}"
    );
    assert!(sender.barrier(PATIENCE).await, "the sender is served");

    // What the kernel has of the burst is still to be read; then comes the end.
    stuck.count_only();
    stuck.resume();
    assert!(stuck.closes(PATIENCE).await, "it is cut off");
    let cut_off = siege.metric(crate::CLOSED, crate::SLOW_READER).await - cut_off_before;
    assert!(
        (cut_off - 1.0).abs() < f64::EPSILON,
        "{cut_off} connections were cut off"
    );
    siege.assert_warned("SLOW_READER").await;
    siege.end(GROWTH).await;
}

/// About 50 MB/s: the senders are slowed down, nobody is cut off, everything arrives.
async fn a_reader_slower_than_a_burst(setup: Setup) {
    let siege = Siege::begin(setup, &[]).await;
    let burst = burst();
    let reader = slow_reader(siege.address()).await;
    let reading = tokio::spawn(read_slowly(reader.expect("a reader"), burst.len()));
    let sender = siege.connect().await;

    let written = timeout(PATIENCE, sender.write(&burst)).await;
    assert!(
        matches!(written, Ok(Ok(()))),
        "the sender is served: {written:?}"
    );

    let read = timeout(PATIENCE, reading).await.expect("in time");
    let read = read
        .expect("the reader does not panic")
        .expect("the connection does not break");
    assert!(
        read >= burst.len(),
        "the reader was cut off after {read} bytes"
    );
    // None on a machine on which the server itself is slower than the reader; `pressure` has tests
    // of when there is one.
    let slowed = siege.metric(crate::CONGESTIONS, "").await;
    crate::show(&format!("senders were slowed down {slowed} times"));
    let cut_off = siege.metric(crate::CLOSED, crate::SLOW_READER).await;
    assert!(cut_off < 1.0, "{cut_off} connections were cut off");
    siege.end(GROWTH).await;
}

/// Messages to [`READER`], about [`BURST`] bytes.
fn burst() -> Vec<u8> {
    let message = messages::message(1, READER, 1, SINGLE_TEXT, vec![0; MESSAGE]).encode();
    message.repeat(BURST / message.len())
}

/// A list with [`READER`] in it.
fn reported() -> Vec<u8> {
    messages::online(&[READER]).encode()
}

/// A MsgServer that has reported, and whose kernel does not read much ahead of it.
async fn slow_reader(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(256 << 10)?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(&reported()).await?;
    stream
        .write_all(&messages::query(1, &[], None).encode())
        .await?;
    // The answer, so that the list has been handled: a header, the requester, empty attach data.
    stream.read_exact(&mut [0; 16 + 2 + 3]).await?;
    Ok(stream)
}

/// Reads `wanted` bytes at the pace of [`SHARE`] in [`PACE`]; says how many there were.
async fn read_slowly(mut stream: TcpStream, wanted: usize) -> std::io::Result<usize> {
    let mut clock = interval(PACE);
    let mut buffer = vec![0; SHARE];
    let mut read = 0;
    while read < wanted {
        clock.tick().await;
        let mut share = 0;
        while share < SHARE && read + share < wanted {
            match stream.read(&mut buffer[share..]).await? {
                0 => return Ok(read + share),
                size => share += size,
            }
        }
        read += share;
    }
    Ok(read)
}
