//! The writing half of a connection's task: everything that waits, in as few calls as possible.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use route_proto::attach::v1::CloseReason;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::yield_now;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::links::gateway::Gateway;
use crate::links::host::Host;
use crate::links::link::{Link, Next};
use crate::links::network::Socket;
use crate::links::output::Batch;

/// After so many bytes written without waiting, other tasks come first.
const TURN: usize = 64 << 10;

/// Slices of one write. The kernel takes 1024; half of that is some hundred kilobytes of small PDUs.
const SLICES: usize = 512;

/// For writes of few slices, which need no room for many.
const FEW_SLICES: usize = 16;

/// What a MsgServer's host has, its MsgServer has read after so long: it waits for its sockets for 100 ms at most.
const MOMENT: Duration = Duration::from_millis(150);

/// How often the kernel is asked whether the host has everything: it tells by itself only what fits into its buffer.
const LOOK: Duration = Duration::from_millis(10);

/// Writes what one link holds.
#[derive(Debug)]
pub(super) struct Writer<O> {
    gateway: Arc<Gateway>,
    link: Arc<Link>,
    /// What is being written.
    pub(super) batch: Batch,
    /// Its socket.
    pub(super) output: O,
}

impl<O: AsyncWrite + Unpin> Writer<O> {
    /// Nothing has been written.
    pub(super) fn new(gateway: &Arc<Gateway>, link: &Arc<Link>, output: O) -> Self {
        Writer {
            gateway: Arc::clone(gateway),
            link: Arc::clone(link),
            batch: Batch::default(),
            output,
        }
    }

    /// Writes what the link holds, until it is to end or its connection breaks.
    pub(super) async fn write<S: Socket<Output = O>>(&mut self) -> CloseReason {
        let mut host = Host::new(self.gateway.link_settings.host_timeout);
        loop {
            let mut next = poll_fn(|cx| self.link.poll_next(cx, &mut self.batch)).await;
            loop {
                match next {
                    Next::End(reason) => return reason,
                    Next::Look if S::has_vanished(&self.output, &mut host) => {
                        warn!("the host has vanished");
                        return CloseReason::Idle;
                    }
                    Next::Look | Next::Write => {}
                }
                if self.batch.is_done() {
                    break;
                }
                let written = poll_fn(|cx| match self.poll_write(cx) {
                    Poll::Pending => self.link.poll_urgent(cx).map(Err),
                    Poll::Ready(written) => Poll::Ready(Ok(written)),
                });
                match written.await {
                    Err(urgent) => {
                        next = urgent;
                        continue;
                    }
                    Ok(Ok(bytes)) if bytes >= TURN => yield_now().await,
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => {
                        debug!(%error, "writing failed");
                        return CloseReason::Peer;
                    }
                }
                next = Next::Write;
            }
        }
    }

    /// Writes what the link holds, then nothing more, and closes this direction when the MsgServer has had a moment to read
    /// that: MsgServers miss a FIN that comes right behind data.
    pub(super) async fn part<S: Socket<Output = O>>(&mut self) -> io::Result<()> {
        let sent = loop {
            while !self.batch.is_done() {
                poll_fn(|cx| self.poll_write(cx)).await?;
            }
            if let Some(sent) = self.link.fall_silent(&mut self.batch) {
                break sent;
            }
        };
        let ago = self.gateway.clock.now().saturating_sub(sent);
        let mut moment = MOMENT.saturating_sub(ago);
        while !S::has_everything(&self.output) {
            sleep(LOOK).await;
            moment = MOMENT;
        }
        sleep(moment).await;
        self.output.shutdown().await
    }

    /// Writes what the link holds, until the node knows that it ends.
    pub(super) async fn flush(&mut self, awaits_end: bool) -> io::Result<()> {
        loop {
            while !self.batch.is_done() {
                poll_fn(|cx| self.poll_write(cx)).await?;
            }
            if !poll_fn(|cx| self.link.poll_flush(cx, &mut self.batch, awaits_end)).await {
                return Ok(());
            }
        }
    }

    /// Writes once, as much as the socket takes, and takes that off the batch.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut few = [IoSlice::new(&[]); FEW_SLICES];
        let filled = self.batch.slices(&mut few);
        let output = Pin::new(&mut self.output);
        let written = match filled {
            // `send` costs the kernel less than `writev`.
            1 => output.poll_write(cx, &few[0]),
            0..FEW_SLICES => output.poll_write_vectored(cx, &few[..filled]),
            _ => {
                let mut many = [IoSlice::new(&[]); SLICES];
                let filled = self.batch.slices(&mut many);
                output.poll_write_vectored(cx, &many[..filled])
            }
        };
        let bytes = ready!(written)?;
        if bytes == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let written = self.batch.advance(bytes);
        self.gateway.counters.written_bytes.add(bytes as u64);
        if let Some(turn) = self.link.wrote(self.gateway.clock.now(), written) {
            self.gateway.turn(turn);
        }
        Poll::Ready(Ok(bytes))
    }
}
