//! What others notice while one peer behaves badly: round trips of two pairs of MsgServers, one at
//! addresses of its own, one at the attacker's; in peace, during the attack, and beside a neighbour
//! that only burns as much CPU.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use system_tests::player::pair::{Pair, Report};
use system_tests::siege::{Attack, Siege, Target};
use tokio::runtime::{Builder, Runtime};

use crate::cli::AttackOptions;
use crate::figures::{median, percentile};
use crate::process::{self, own_cpu};
use crate::server::{ServerSpec, StartOptions};
use crate::service::ServiceTls;

/// The last numbers of loopback addresses: the attacker's, and those of the pair elsewhere.
const ATTACKER: u8 = 40;
const ELSEWHERE: [u8; 2] = [41, 42];
/// Before anything counts: the attack has begun, and queues that it fills are a quarter full.
const BEGINNING: Duration = Duration::from_secs(3);
/// A burner works for its share of each of these.
const SLICE: Duration = Duration::from_millis(1);
/// Threads that burn.
const BURNERS: u32 = 2;

/// What one situation did to the pairs: p50 and p99 in ms, elsewhere and at the attacker's address.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    elsewhere: [f64; 2],
    same: [f64; 2],
    /// Processors that server and players used.
    processors: f64,
}

/// What happens beside the pairs.
#[derive(Clone, Copy, Debug)]
enum Beside {
    Nothing,
    Attack(Attack),
    /// So many processors are burnt.
    Burning(f64),
}

/// Measures all attacks, and prints a row for each; false if a pair lost something.
pub(crate) fn run(options: &AttackOptions) -> anyhow::Result<bool> {
    let server = options.server()?;
    println!(
        "{:<28}{:>6} |{:>26} |{:>26}\n{:<28}{:>6} |{:>26} |{:>26}\n{:<28}{:>6} |{} |{}",
        "",
        "",
        "p50 / p99 ms elsewhere",
        "at the attacker's address",
        "",
        "",
        "in peace, burning, attack",
        "in peace, burning, attack",
        "attack",
        "CPUs",
        "-".repeat(26),
        "-".repeat(26)
    );
    for attack in options.attacks()? {
        let mut rows = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..options.runs {
            process::wait_for_quiet(Duration::from_secs(options.quiet_wait));
            let peace = observe(&server, options, Beside::Nothing)?;
            let attacked = observe(&server, options, Beside::Attack(attack))?;
            let burnt = (attacked.processors - peace.processors).max(0.0);
            let burning = observe(&server, options, Beside::Burning(burnt))?;
            for (row, seen) in rows.iter_mut().zip([peace, burning, attacked]) {
                row.push(seen);
            }
        }
        print_row(attack, &rows);
    }
    Ok(true)
}

fn print_row(attack: Attack, [peace, burning, attacked]: &[Vec<Seen>; 3]) {
    let of = |seen: &[Seen], value: fn(&Seen) -> f64| {
        median(&seen.iter().map(value).collect::<Vec<_>>())
    };
    let cpus = of(attacked, |it| it.processors) - of(peace, |it| it.processors);
    let cell = |p50: fn(&Seen) -> f64, p99: fn(&Seen) -> f64| {
        let each = [peace, burning, attacked].map(|seen| (of(seen, p50), of(seen, p99)));
        let shown = each.map(|(p50, p99)| format!("{p50:.1}/{p99:.1}"));
        format!("{:>8} {:>8} {:>8}", shown[0], shown[1], shown[2])
    };
    println!(
        "{:<28}{:>6.2} |{} |{}",
        attack.name(),
        cpus.max(0.0),
        cell(|it| it.elsewhere[0], |it| it.elsewhere[1]),
        cell(|it| it.same[0], |it| it.same[1]),
    );
}

/// Plays the pairs on a fresh server.
fn observe(spec: &ServerSpec, options: &AttackOptions, beside: Beside) -> anyhow::Result<Seen> {
    let server = spec.start(StartOptions {
        log: None,
        by_process: false,
        service: &ServiceTls::default(),
    })?;
    let pdu = server.address;
    let besieged = runtime()?;
    let siege = |attack| {
        let _inside = besieged.enter();
        let target = Target {
            pdu: [pdu; 2],
            grpc: server.grpc(),
            address: Some(ATTACKER),
        };
        Siege::begin(&[attack], target)
    };
    let pairs = Builder::new_current_thread().enable_all().build()?;
    let playing = pairs.block_on(async {
        anyhow::Ok([
            Pair::start_from(pdu, ELSEWHERE).await?,
            Pair::start_from(pdu, [ATTACKER; 2]).await?,
        ])
    })?;
    let burners = Burners::default();
    let _siege = match beside {
        Beside::Nothing => None,
        Beside::Attack(attack) => Some(siege(attack)),
        Beside::Burning(processors) => {
            burners.begin(processors);
            None
        }
    };
    let wait = |time| pairs.block_on(async { tokio::time::sleep(time).await });
    wait(BEGINNING);
    let (cpu, own, counted) = (server.cpu()?, own_cpu(), Instant::now());
    wait(Duration::from_secs_f64(options.seconds));
    let used = server.usage_since(&cpu)?.total + (own_cpu() - own);
    let processors = used.as_secs_f64() / counted.elapsed().as_secs_f64();
    let [elsewhere, same] = playing;
    let reports = pairs.block_on(async { [elsewhere.ends().await, same.ends().await] });
    burners.end();
    besieged.shutdown_background();
    let [elsewhere, same] = reports.map(|report| percentiles(&report, counted.into()));
    Ok(Seen {
        elsewhere: elsewhere.context("the pair elsewhere")?,
        same: same.context("the pair at the attacker's address")?,
        processors,
    })
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

/// p50 and p99 of rounds that began after this, ms. An error if something was lost.
fn percentiles(report: &Report, counted: tokio::time::Instant) -> anyhow::Result<[f64; 2]> {
    if let Some(wrong) = &report.wrong {
        anyhow::bail!("{wrong}");
    }
    let rounds = report.times.iter().filter(|round| round.began >= counted);
    let mut times: Vec<Duration> = rounds.map(|round| round.took).collect();
    times.sort_unstable();
    anyhow::ensure!(!times.is_empty(), "nothing was exchanged");
    Ok([0.5, 0.99].map(|share| percentile(&times, share) * 1e3))
}

/// Threads that only burn CPU.
#[derive(Clone, Debug, Default)]
struct Burners {
    over: Arc<AtomicBool>,
}

impl Burners {
    /// So many processors, by all of them together.
    fn begin(&self, processors: f64) {
        let work = SLICE.mul_f64((processors / f64::from(BURNERS)).min(1.0));
        for _ in 0..BURNERS {
            let over = Arc::clone(&self.over);
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    while began.elapsed() < work {
                        std::hint::spin_loop();
                    }
                    thread::sleep(SLICE.saturating_sub(work));
                }
            });
        }
    }

    fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
