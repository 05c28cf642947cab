use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, duplex};

use super::*;

const TIME: Duration = Duration::from_secs(10);

/// What a MsgServer sends behind the header.
const PDU: &[u8] = b"\0\0\0\x10\0\x01\0\0\0\x07\0\x01\0\0\0\0";

/// A header, and whose connection it says it is.
fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
    let v4 = [10, 0, 0, 7, 10, 0, 0, 5, 0x9c, 0x40, 0x20, 0x08];
    let mut v6 = [0; 36];
    (v6[0], v6[15], v6[31], v6[33]) = (0xfd, 7, 5, 80);
    let long_tlv = [&[0xe0, 0x0f, 0x00][..], &[7; 0xf00]].concat();
    vec![
        (
            b"PROXY TCP4 10.0.0.7 10.0.0.5 40000 8200\r\n".to_vec(),
            Some("10.0.0.7:40000"),
        ),
        (
            b"PROXY TCP6 fd00::7 fd00::5 80 8200\r\n".to_vec(),
            Some("[fd00::7]:80"),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (
            b"PROXY UNKNOWN ffff:f::1 1::2 65535 65535\r\n".to_vec(),
            None,
        ),
        (v2(0x21, 0x11, &v4), Some("10.0.0.7:40000")),
        (
            v2(0x21, 0x11, &[&v4[..], &long_tlv].concat()),
            Some("10.0.0.7:40000"),
        ),
        (v2(0x21, 0x21, &v6), Some("[fd00::7]:80")),
        (v2(0x20, 0x00, b""), None),
        (v2(0x20, 0x11, &v4), None),
        (v2(0x21, 0x00, b""), None),
        (v2(0x21, 0x31, &[1; 216]), None),
    ]
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

/// Reads a header from what comes in such pieces, then the end. Returns what is left, too.
async fn told(
    pieces: &[&[u8]],
    time: Duration,
) -> (Result<Option<SocketAddr>, HeaderError>, Vec<u8>) {
    let (mut proxy, mut gateway) = duplex(1 << 20);
    let pieces: Vec<_> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let sending = tokio::spawn(async move {
        for piece in pieces {
            proxy.write_all(&piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let told = read(&mut gateway, time).await;
    sending.await.unwrap();
    let mut rest = Vec::new();
    gateway.read_to_end(&mut rest).await.unwrap();
    (told, rest)
}

#[tokio::test]
async fn a_header_is_read_and_nothing_behind_it() {
    for (header, whose) in headers() {
        let whose = whose.map(|address| address.parse().unwrap());
        let all = [&header[..], PDU].concat();
        let bytes: Vec<_> = all.chunks(1).collect();

        for pieces in [&[&all[..]][..], &[&header, PDU], &bytes] {
            let (told, rest) = told(pieces, TIME).await;
            assert_eq!((told.unwrap(), &rest[..]), (whose, PDU), "{header:?}");
        }
    }
}

#[tokio::test]
async fn what_is_no_header_is_refused_with_a_reason() {
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
    let bad_port = "PROXY TCP4 10.0.0.7 10.0.0.5 400000 8200\r\n";
    for (sent, expected) in [
        (&b""[..], "nothing came"),
        (PDU, "has to send a PROXY protocol header"),
        (b"GET / HTTP/1.1\r\n\r\n", "has to send"),
        (b"PROXY TCP4 10.0.0.7", "closed before the end"),
        (&v2(0x21, 0x11, b"")[..14], "closed before the end"),
        (&v2(0x21, 0x11, &[0; 12])[..20], "closed before the end"),
        (too_long.as_bytes(), "too long"),
        (&v2(0x20, 0, &[0; 4081]), "too long"),
        (bad_port.as_bytes(), "malformed"),
        (b"PROXY TCP4 ::1 ::1 1 1\r\n", "malformed"),
        (b"PROXY UDP4 10.0.0.7 10.0.0.5 1 1\r\n", "malformed"),
        (b"PROXY \r\nUNKNOWN\r\n", "malformed"),
        (b"PROXY UNKNOWN\n and more", "malformed"),
        (&v2(0x21, 0x11, &[0; 11]), "malformed"),
        (&v2(0x31, 0x11, &[0; 12]), "malformed"),
        (&v2(0x22, 0x11, &[0; 12]), "malformed"),
    ] {
        let (told, _) = told(&[sent], TIME).await;
        let problem = told.unwrap_err().to_string();
        assert!(problem.contains(expected), "{sent:?}: {problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_not_waited_for_for_ever() {
    for (sent, expected) in [
        (&b""[..], "nothing came"),
        (b"PROXY TCP4 10.0", "in time"),
        (SIGNATURE, "in time"),
    ] {
        let (mut proxy, mut gateway) = duplex(100);
        proxy.write_all(sent).await.unwrap();

        let problem = read(&mut gateway, TIME).await.unwrap_err().to_string();

        assert!(problem.contains(expected), "{problem}");
    }
}

proptest! {
    /// Whatever comes, it is judged, and nothing is read beyond the longest header.
    #[test]
    fn nothing_that_comes_can_panic(
        which in 0..11_usize,
        at in 0..60_usize,
        byte in any::<u8>(),
        cut in 0..5000_usize,
    ) {
        let (mut sent, _) = headers().swap_remove(which);
        let place = at % sent.len();
        sent[place] = byte;
        sent.extend([0; 6000]);
        sent.truncate(cut.max(1));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();

        let (_, rest) = runtime.block_on(told(&[&sent], TIME));

        prop_assert!(sent.len() - rest.len() <= LONGEST);
    }
}
