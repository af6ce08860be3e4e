//! Attacks on a server of one worker, each for a bounded time and beside a polite client.
//!
//! An [`Attack`] says how the server must end it; [`Attack::run`] carries it out again and again, each time on a new
//! connection, and then asks whether the server kept to its bounds: memory and processor time, the polite client's
//! answers, the trip in the metrics, the GOAWAY that the attacker saw, and that nothing is left afterwards.
//!
//! `HOSTILE_SECONDS` makes every attack that long.

pub(crate) mod foe;
pub(crate) mod memory;
pub(crate) mod polite;
pub(crate) mod victim;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fmt, thread};

use wakering::http::{Builder, Config, Metrics, Reason, Server, Trip};

use self::foe::{Foe, Over, Seen};
use self::polite::{Polite, Took, p99};
use self::victim::Victim;

/// One attack at a time: they share two cores with their victims.
static ALONE: Mutex<()> = Mutex::new(());

/// How long the attack is tried before it counts.
const WARM_UP: Duration = Duration::from_millis(200);

/// How often an attack is tried until one goes well.
const TRIALS: usize = 3;

/// What the worker's pools may have gained meanwhile.
const KEPT: i64 = 1 << 20;

/// What the polite client may wait beside five times what it waits alone: the worker takes turns of a few hundred
/// kilobytes. Without optimisation everything takes eight times as long.
const SLACK: Duration = Duration::from_millis(if cfg!(debug_assertions) { 80 } else { 20 });

/// How an attack must end, and what it may cost.
pub(crate) struct Attack {
    pub(crate) builder: Builder,
    /// The bound that it runs into; `None` when it is legal, or a violation that has no bound.
    pub(crate) trip: Option<Trip>,
    /// The code of the GOAWAY that ends it; `None` when the connection goes on.
    pub(crate) code: Option<Reason>,
    /// Memory of the worker above what it had before.
    pub(crate) memory: i64,
    /// Processor time for a byte that the attacker sends, apart from what a connection costs.
    pub(crate) nanos_per_byte: u64,
    /// Connections at a time.
    pub(crate) foes: usize,
    pub(crate) length: Duration,
}

impl Default for Attack {
    fn default() -> Self {
        Attack {
            builder: Server::builder(),
            trip: None,
            code: None,
            memory: 2 << 20,
            nanos_per_byte: 400,
            foes: 1,
            length: Duration::from_millis(700),
        }
    }
}

/// What an attack came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) connections: u64,
    pub(crate) seen: Vec<Seen>,
    pub(crate) metrics: Metrics,
    /// Requests of the polite client, which the metrics count too.
    pub(crate) asked: u64,
}

/// What was measured, for the failure's text and for `HOSTILE_REPORT`.
struct Figures {
    alone: Duration,
    during: Duration,
    answers: usize,
    sent: u64,
    connections: u64,
    processor: Duration,
    peak: i64,
    left: i64,
}

impl Attack {
    /// An attack that a bound of its own ends with ENHANCE_YOUR_CALM.
    pub(crate) fn calmed_by(trip: Trip) -> Attack {
        Attack { trip: Some(trip), code: Some(Reason::ENHANCE_YOUR_CALM), ..Attack::default() }
    }

    pub(crate) fn with(mut self, config: Config) -> Attack {
        self.builder = self.builder.http2(config);
        self
    }

    /// Carries it out. `attack` gets a connection without a word and the number of the round.
    ///
    /// Others may have the processors just then, and a polite client that is not run for long is ended by the same limits
    /// as its neighbours: of three trials one must go well. A bound that does not hold breaks in each.
    pub(crate) fn run(
        self,
        name: &str,
        attack: impl Fn(&mut Foe, u32) -> Result<(), Over> + Sync,
    ) -> Outcome {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut length = seconds().unwrap_or(self.length);
        for _ in 1..TRIALS {
            // Each trial has a server and clients of its own, and more time to run into the bound.
            if let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| self.trial(name, length, &attack))) {
                return outcome;
            }
            length *= 4;
        }
        self.trial(name, length, &attack)
    }

    fn trial(
        &self,
        name: &str,
        length: Duration,
        attack: &(impl Fn(&mut Foe, u32) -> Result<(), Over> + Sync),
    ) -> Outcome {
        let victim = Victim::start(self.builder.clone());
        let mut polite = Polite::connect(&victim);
        let alone = p99(&polite.ask_often(150));
        let cold = victim.account.live();
        victim.account.take_peak();
        // Once for the caches and pools that stay: what is left after the second time has leaked.
        self.beside(&mut polite, &victim, WARM_UP, attack);
        self.settle(name, &victim, 1);
        let peak = victim.account.take_peak();

        let (base, before) = (victim.account.live(), victim.processor_time());
        let (seen, times) = self.beside(&mut polite, &victim, length, attack);
        let peak = victim.account.take_peak().max(peak) - cold;
        let processor = victim.processor_time().zip(before).map_or(Duration::ZERO, |(now, then)| now - then);

        self.settle(name, &victim, 1);
        let left = victim.account.live() - base;
        let asked = polite.asked();
        drop(polite);
        let metrics = self.settle(name, &victim, 0);
        let sent = seen.iter().map(|it| it.sent).sum::<u64>();
        let connections = seen.len() as u64;
        let figures = Figures {
            alone,
            during: p99(&times),
            answers: times.len(),
            sent,
            connections,
            processor,
            peak,
            left,
        };
        if env::var_os("HOSTILE_REPORT").is_some() {
            println!(
                "{name}: {figures}; {:?}",
                metrics.trips.iter().filter(|it| it.1 > 0).collect::<Vec<_>>()
            );
        }
        self.judge(name, &figures, &seen, &metrics);
        let stopped = victim.stop();
        assert_eq!((stopped.aborted_connections, stopped.aborted_handlers), (0, 0), "{name}");
        Outcome { connections, seen, metrics, asked }
    }

    /// Attacks while the polite client asks.
    fn beside(
        &self,
        polite: &mut Polite<'_>,
        victim: &Victim,
        length: Duration,
        attack: &(impl Fn(&mut Foe, u32) -> Result<(), Over> + Sync),
    ) -> (Vec<Seen>, Vec<Took>) {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let asking = scope.spawn(|| polite.ask_until(&stop));
            let seen = self.attack(victim, Instant::now() + length, attack);
            stop.store(true, Relaxed);
            (seen, asking.join().expect("the polite client is served"))
        })
    }

    fn attack(
        &self,
        victim: &Victim,
        until: Instant,
        attack: &(impl Fn(&mut Foe, u32) -> Result<(), Over> + Sync),
    ) -> Vec<Seen> {
        let rounds = || {
            let mut all = Vec::new();
            while Instant::now() < until {
                let mut foe = Foe::connect(victim.address, until);
                let round = u32::try_from(all.len()).expect("few rounds");
                let ended = attack(&mut foe, round).is_err();
                if ended && self.code.is_some() && (foe.is_over() || !foe.reads) {
                    foe.hear_out(Duration::from_millis(500));
                }
                all.push(foe.seen);
            }
            all
        };
        thread::scope(|scope| {
            let foes: Vec<_> = (0..self.foes).map(|_| scope.spawn(rounds)).collect();
            foes.into_iter().flat_map(|foe| foe.join().expect("an attacker does not panic")).collect()
        })
    }

    /// Waits until nothing is left but so many connections with nothing on them.
    fn settle(&self, name: &str, victim: &Victim, connections: u64) -> Metrics {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let now = victim.meters.read();
            let held = now.held_received + now.held_output + now.held_heads;
            if (now.connections_open, now.streams_open, now.handlers, held) == (connections, 0, 0, 0) {
                return now;
            }
            assert!(Instant::now() < end, "{name}: something is left: {now:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn judge(&self, name: &str, figures: &Figures, seen: &[Seen], metrics: &Metrics) {
        let told = format!("{name}: {figures}");
        assert!(figures.during <= figures.alone * 5 + SLACK, "the polite client waits; {told}");
        assert!(figures.peak <= self.memory, "memory; {told}");
        assert!(figures.left <= KEPT, "memory is kept; {told}");
        // A connection costs its accepting, its settings and its end; the polite client's answers cost too. Without
        // optimisation, and on a machine that does other things, all of it may take twice as long.
        let calm = 50_000_000 + 3_000_000 * figures.connections + 600_000 * figures.answers as u64;
        let budget = (calm + self.nanos_per_byte * figures.sent) * if cfg!(debug_assertions) { 2 } else { 1 };
        assert!(figures.processor.as_nanos() <= u128::from(budget), "processor time; {told}");
        if let Some(trip) = self.trip {
            assert!(metrics.trips.of(trip) > 0, "no trip {trip:?} but {:?}; {told}", metrics.trips);
        } else {
            assert_eq!(metrics.trips.total(), 0, "a trip without a bound: {:?}; {told}", metrics.trips);
        }
        match self.code {
            Some(code) => self.check_words(code, seen, &told),
            None => assert!(seen.iter().all(|it| it.goaway.is_none()), "a GOAWAY: {seen:?}; {told}"),
        }
    }

    /// Every GOAWAY has the code, and says in words which bound it was.
    fn check_words(&self, code: Reason, seen: &[Seen], told: &str) {
        let goaways: Vec<_> = seen.iter().filter_map(|it| it.goaway.as_ref()).collect();
        assert!(!goaways.is_empty(), "no GOAWAY; {told}");
        for (said, words) in goaways {
            assert_eq!(Reason(*said), code, "{words}; {told}");
            let text = self.trip.map_or("", Trip::text);
            assert!(words.contains(text), "{words} does not say {text}; {told}");
        }
    }
}

fn seconds() -> Option<Duration> {
    env::var("HOSTILE_SECONDS").ok()?.parse().ok().map(Duration::from_secs_f64)
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "p99 alone {:?}, during {:?} of {} answers; {} bytes on {} connections, {:?} of processor; memory +{} KiB, then +{} KiB",
            self.alone,
            self.during,
            self.answers,
            self.sent,
            self.connections,
            self.processor,
            self.peak >> 10,
            self.left >> 10,
        )
    }
}
