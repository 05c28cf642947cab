//! Runs that wait for long, as bytes: a notice takes a third of what a run of its own does.

use prost::Message as _;
use route_proto::attach::v1::DeliveryRun;

use crate::links::run::Run;
use crate::memory::allocated;

/// Runs of more are not packed, bytes: they are large beside what they cost.
const SMALL: usize = 512;

/// Runs, one after the other.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// What is to be written.
    wire: Vec<u8>,
    /// As the node sent them, each with its length before it.
    runs: Vec<u8>,
    /// Of the deliveries of all runs: how much is written of each.
    lengths: Vec<u32>,
    /// Of which something is.
    pdus: usize,
}

impl Packed {
    /// Whether a run gains anything.
    pub(super) fn takes(run: &Run) -> bool {
        run.bytes() <= SMALL
    }

    /// All of these, in order.
    pub(super) fn of<'a>(runs: impl Iterator<Item = &'a Run> + Clone) -> Packed {
        let wire = runs.clone().map(Run::bytes).sum();
        let deliveries = runs.clone().map(Run::deliveries).sum();
        let mut packed = Packed {
            wire: Vec::with_capacity(wire),
            runs: Vec::new(),
            lengths: Vec::with_capacity(deliveries),
            pdus: runs.clone().map(Run::pdus).sum(),
        };
        for run in runs {
            for segment in run.segments() {
                packed.wire.extend_from_slice(segment);
            }
            packed.lengths.extend(run.lengths());
            let whole = run.unwritten(0);
            whole
                .encode_length_delimited(&mut packed.runs)
                .expect("a vector grows");
        }
        packed.runs.shrink_to_fit();
        packed
    }

    /// What is to be written.
    pub(super) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// PDUs that are to be written.
    pub(super) fn pdus(&self) -> usize {
        self.pdus
    }

    /// What it takes, bytes.
    pub(super) fn cost(&self) -> usize {
        let lengths = size_of::<u32>() * self.lengths.capacity();
        allocated(size_of::<Self>())
            + allocated(self.wire.capacity())
            + allocated(self.runs.capacity())
            + allocated(lengths)
    }

    /// As the node sent them, with the bytes of each, but for the deliveries of which all bytes are `written`.
    pub(super) fn unwritten(&self, written: usize) -> Vec<(DeliveryRun, usize)> {
        let mut rest = &self.runs[..];
        let (mut lengths, mut end) = (self.lengths.iter(), 0);
        let mut all = Vec::new();
        while !rest.is_empty() {
            let Ok(mut run) = DeliveryRun::decode_length_delimited(&mut rest) else {
                debug_assert!(false, "it was encoded here");
                break;
            };
            let (mut bytes, mut done) = (0, 0);
            for length in lengths.by_ref().take(run.deliveries.len()) {
                end += *length as usize;
                if bytes == 0 && end <= written {
                    done += 1;
                } else {
                    bytes += *length as usize;
                }
            }
            run.position += done as u64;
            run.deliveries.drain(..done);
            if !run.deliveries.is_empty() {
                all.push((run, bytes));
            }
        }
        all
    }
}
