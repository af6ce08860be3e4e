//! Every bound of the crate, each with its reason.
//!
//! A queue, table, loop or list anywhere in the crate takes its limit from here, so that a reader finds
//! in one place what the process can grow to. Relations between bounds are asserted at compile time.
//!
//! What only a feature has stands in a file of its own, in `limits/`.

#[cfg(feature = "console")]
mod console;
#[cfg(feature = "http1")]
mod http1;
#[cfg(feature = "message")]
mod message;
#[cfg(feature = "proxy-protocol")]
mod proxy_protocol;
#[cfg(feature = "tls")]
mod tls;

use std::time::Duration;

#[cfg(feature = "console")]
pub(crate) use self::console::*;
#[cfg(feature = "http1")]
pub(crate) use self::http1::*;
#[cfg(feature = "message")]
pub(crate) use self::message::*;
#[cfg(feature = "proxy-protocol")]
pub(crate) use self::proxy_protocol::*;
#[cfg(feature = "tls")]
pub(crate) use self::tls::*;

// Sections, one per module: keep them in the order of the floors.

// clock

/// The grain of parking, 64 µs: a worker that waits for a timer wakes at the next multiple, so that timers
/// which lie closer together share one wake-up. At most 15,625 a second are made.
pub(crate) const TICK_NANOS: u64 = 64_000;

/// How many timers of different deadlines one list of the wheel may hold, and so how many a single call
/// may have to move: about 40 µs of work. Fewer would make rings (1 KiB each) for timers that are far off.
pub(crate) const TIMER_LIST_MAX: u32 = 4096;

/// Up to this length a list of the wheel is sorted in place, which then costs less than making a ring.
pub(crate) const TIMER_SORT_MAX: u32 = 32;

/// How far from the tail the wheel looks for the right position in a sorted list: each step may be a cache
/// miss.
pub(crate) const TIMER_SHIFT_MAX: u32 = 8;

const _: () = assert!(TIMER_SHIFT_MAX < TIMER_SORT_MAX && TIMER_SORT_MAX < TIMER_LIST_MAX);

// slab

/// Up to this length a table doubles when it is full, and grows by a quarter from then on.
pub(crate) const TABLE_DOUBLES_TO: usize = 1024;

// sys

/// The most events that one wait of a selector takes, whatever the caller asks for: the buffer is allocated at once
/// (16 bytes an event), and the kernel's counts are 32 bits wide.
pub(crate) const SELECTOR_EVENTS_MAX: usize = 1 << 16;

/// The longest sleep of a selector (24.8 days): `epoll_wait` counts milliseconds in 31 bits, and some kernels refuse
/// longer timeouts of `kevent`. Who wants to sleep longer is woken in between and sleeps again.
pub(crate) const SELECTOR_WAIT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// Buffers handed to one vectored call: `IOV_MAX` is 1,024 on Linux, macOS and the BSDs, and more of
/// them is `EINVAL`. The rest waits for the next call.
pub(crate) const IO_SLICES_MAX: usize = 1024;

// proto::h2::hpack

/// The dynamic table that either side keeps: HTTP/2's initial value. A larger one would hold more than the
/// few fields that repeat on a connection, at that much memory for each connection.
pub(crate) const HPACK_TABLE_BYTES: usize = 4_096;

/// Fields of one message, cookie crumbs apart: browsers send under forty.
pub(crate) const HEADER_FIELDS: u32 = 100;

/// Cookie crumbs of one message: browsers split a cookie jar at every pair.
pub(crate) const COOKIE_CRUMBS: u32 = 256;

/// Decoded size of a message's fields, 32 octets a field added (RFC 9113 §6.5.2): what servers commonly take.
pub(crate) const HEADER_LIST_BYTES: u32 = 16 * 1024;

/// Encoded size of a header block. A block over the list's size is still decoded for the sake of the
/// compression state, at a cost bounded by this; twice the list leaves room for peers that do not compress.
pub(crate) const HEADER_BLOCK_BYTES: usize = 32 * 1024;

const _: () = assert!(HEADER_BLOCK_BYTES >= HEADER_LIST_BYTES as usize);

// proto::h2

/// Receive window of a stream, until it is worth growing: what one round trip of a LAN fills.
pub(crate) const H2_STREAM_WINDOW: u32 = 64 * 1024;
/// Receive window of a connection: sixteen streams at full window.
pub(crate) const H2_CONNECTION_WINDOW: u32 = 1 << 20;
/// What a stream's window grows to at most: 1 Gbit/s over 130 ms.
pub(crate) const H2_MAX_STREAM_WINDOW: u32 = 16 << 20;
/// What the connection's window grows to at most: a stream at its most, as much for those beside it, and what the
/// connection has without measuring.
pub(crate) const H2_MAX_CONNECTION_WINDOW: u32 = 2 * H2_MAX_STREAM_WINDOW + H2_CONNECTION_WINDOW;
/// The shortest round trip that is believed: a clock that is read once a turn knows no better.
pub(crate) const H2_ROUND_TRIP_NS: u64 = 10_000;
/// The longest pause between two measurements of the round trip while content comes: paths change.
pub(crate) const H2_PROBE_PAUSE_NS: u64 = 10_000_000_000;
/// Largest frame that is accepted: the protocol's initial value, so that no frame that must be whole takes more.
pub(crate) const H2_FRAME_BYTES: u32 = 16 * 1024;
/// Streams of one connection at a time: twice what browsers use.
pub(crate) const H2_CONCURRENT_STREAMS: u32 = 256;
/// Dynamic table of the decoder.
pub(crate) const H2_HEADER_TABLE_BYTES: u32 = HPACK_TABLE_BYTES as u32;
/// CONTINUATION frames of one header block: with 16 KiB frames the encoded bound is reached long before.
pub(crate) const H2_CONTINUATIONS: u32 = 8;
/// Entries of one SETTINGS frame: four times what is defined.
pub(crate) const H2_SETTINGS_ENTRIES: u32 = 32;
/// PING and SETTINGS acknowledgements that wait to be written, each: honest peers have one or two.
pub(crate) const H2_WAITING_ACKS: u32 = 16;
/// PINGs that a connection sends by itself at once, of which the application's leave so many free: behind a GOAWAY,
/// to measure, to keep alive.
pub(crate) const H2_OWN_PINGS: u32 = 3;
/// Streams that may die early at once and in a second: a browser that closes a tab, not rapid reset.
pub(crate) const H2_RESET_BURST: u32 = 100;
pub(crate) const H2_RESETS_PER_SECOND: u32 = 33;
/// Empty DATA frames and PRIORITY frames at once and in a second: some clients send a few for each stream.
pub(crate) const H2_GLITCH_BURST: u32 = 1_000;
pub(crate) const H2_GLITCHES_PER_SECOND: u32 = 100;
/// Output that may wait before new streams are refused: a turn and more, so that a download alone refuses nobody.
pub(crate) const H2_OUTPUT_BYTES: usize = 256 * 1024;
/// Content that one stream queues: a third of a turn, so that a stream can be refilled while the rest is written.
pub(crate) const H2_STREAM_QUEUE_BYTES: usize = 64 * 1024;
/// What one vectored write aims at: a third fewer calls than with 128 KiB, and another frame still fits the bound above.
pub(crate) const H2_TURN_BYTES: usize = 192 * 1024;
/// Largest DATA frame that we make: six of them are a turn, so that streams alternate.
pub(crate) const H2_DATA_FRAME_BYTES: usize = 32 * 1024;
/// Content shorter than this is copied into the output buffer: cheaper than a slice of its own.
pub(crate) const H2_COPY_BYTES: usize = 2 * 1024;
/// Received content at least this long is shared with the read buffer; less is copied, so that a byte cannot
/// pin a block.
pub(crate) const H2_SLICE_MIN_BYTES: usize = 4 * 1024;
/// Unread content of a connection up to which pieces share the read buffer's blocks: two of them. A reader that lags
/// further behind gets copies, so that 4 KiB of content in 60 KiB of other frames cannot pin sixteen times what is held.
pub(crate) const H2_SHARED_BYTES: usize = 128 * 1024;
/// Memory that a drained output buffer keeps while its connection is at work.
pub(crate) const H2_OUTPUT_KEPT_BYTES: usize = 64 * 1024;
/// Memory that the buffer for partial frames keeps while its connection is at work: a usual header block.
pub(crate) const H2_PARTIAL_KEPT_BYTES: usize = 1024;
/// Fields of the response head, and encoded bytes of either head, that a connection remembers: an idle one must stay
/// small.
pub(crate) const H2_HEAD_FIELDS: usize = 8;
pub(crate) const H2_HEAD_BYTES: usize = 128;
/// Fields of the request's head that a connection remembers: browsers send fewer.
pub(crate) const H2_REQUEST_FIELDS: usize = 32;
/// Heads that may differ in a row before only one in as many is remembered.
pub(crate) const H2_HEAD_MISSES: u8 = 8;
/// Debug data of a GOAWAY that is kept or sent: enough for a sentence.
pub(crate) const H2_DEBUG_BYTES: usize = 256;
/// Content that is thrown away behind a complete answer: what a client sends before it can have heard, at the usual
/// window. Many clients take any reset for a failure, also one that says NO_ERROR.
pub(crate) const H2_DISCARD_BYTES: u32 = 64 * 1024;
/// How long that may take: a few round trips of a slow network.
pub(crate) const H2_DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
/// Payload that a frame log looks at: a whole header block.
pub(crate) const H2_LOG_BYTES: usize = HEADER_BLOCK_BYTES;
/// The client's preface and first SETTINGS: one round trip, and slow networks.
pub(crate) const H2_PREFACE_TIMEOUT: Duration = Duration::from_secs(5);
/// The preface of a client that had connected when we began to go: a round trip of most networks.
pub(crate) const H2_LAST_PREFACE: Duration = Duration::from_secs(1);
/// A header block from its first byte to its last.
pub(crate) const H2_HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection without streams.
pub(crate) const H2_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The acknowledgement of our SETTINGS, and of the PING that announces our end.
pub(crate) const H2_SETTINGS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection without streams keeps its memory: longer than a pause between requests, and shorter than
/// anybody looks.
pub(crate) const H2_REST: Duration = Duration::from_millis(250);
/// Bytes a second of content, either way: what the worst of modems carries, and what makes 64 KiB end in five minutes.
pub(crate) const H2_MIN_BODY_RATE: u32 = 240;
/// How long content may come more slowly: a handover between two cells.
pub(crate) const H2_BODY_GRACE: Duration = Duration::from_secs(10);
/// How long content may wait for windows that hardly open.
pub(crate) const H2_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The answer to a PING that asks whether the peer is there: slow networks, and retransmissions.
pub(crate) const H2_KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Output that is hardly taken.
pub(crate) const H2_SEND_TIMEOUT: Duration = Duration::from_secs(30);

const _: () = assert!(H2_STREAM_WINDOW <= H2_CONNECTION_WINDOW && H2_STREAM_WINDOW <= H2_MAX_STREAM_WINDOW);
const _: () = assert!(H2_MAX_CONNECTION_WINDOW < 1 << 31);
const _: () = assert!(H2_OWN_PINGS < H2_WAITING_ACKS);
const _: () =
    assert!(H2_TURN_BYTES + H2_DATA_FRAME_BYTES < H2_OUTPUT_BYTES && H2_DATA_FRAME_BYTES <= H2_TURN_BYTES);

// wake

/// Worker ids of the process: what 12 bits of a handle can name.
pub(crate) const WORKERS_MAX: usize = 1 << 12;

/// Remote words in the first segment of a worker's table; every further segment is twice as long as the one
/// before. 64 words fill two cache-line pairs, and a small server never needs a second segment.
pub(crate) const FIRST_SLOT_SEGMENT: usize = 64;

/// Segments of remote words.
pub(crate) const SLOT_SEGMENTS: usize = 18;

/// Slots of a worker: all the segments together, just under what 24 bits of a handle can name.
pub(crate) const SLOTS_MAX: usize = FIRST_SLOT_SEGMENT * ((1 << SLOT_SEGMENTS) - 1);
const _: () = assert!(SLOTS_MAX <= 1 << 24);

/// Lanes into one worker, of which the number of workers and [`LANES_BEYOND_WORKERS`] are lent out. A lane
/// that nobody ever claimed is 24 bytes; a claimed one has a ring of [`LANE_CAPACITY`] indices (1.5 KiB).
pub(crate) const LANES_MAX: usize = 256;

/// Lanes for threads that are not workers: enough for the threads that a host program wakes tasks from often;
/// the rest share the overflow.
pub(crate) const LANES_BEYOND_WORKERS: usize = 32;
const _: () = assert!(LANES_BEYOND_WORKERS < LANES_MAX);

/// Entries of a lane. One wake of a slot takes one entry until the owner has seen it, so 256 different tasks
/// fit into a lane between two turns; more go through the overflow.
pub(crate) const LANE_CAPACITY: usize = 256;

/// Entries of the overflow that threads without a lane share.
pub(crate) const OVERFLOW_CAPACITY: usize = 1024;

/// Wakes of a worker after which a thread gets a lane of its own. A thread that wakes once and ends (a
/// callback of the resolver, a short-lived helper) should not take one; 16 wakes through the overflow cost
/// about a microsecond.
pub(crate) const WAKES_BEFORE_LANE: u8 = 16;

// task

/// Tasks of one worker: each has a slot.
pub(crate) const MAX_TASKS: usize = SLOTS_MAX;
/// Futures over this many bytes are boxed when spawned, so that moving them cannot overflow a stack.
pub(crate) const HUGE_FUTURE: usize = 16 * 1024;
/// System calls that one poll of a task may make before the others get their turn; as in tokio. Work that comes with
/// them is charged too where a peer chooses how much it is.
pub(crate) const COOPERATIVE_BUDGET: u32 = 128;
/// Bytes, read or written by one call, that cost a task as much of its budget as the call does: a peer that floods has one
/// read of 64 KiB before the others get their turn, and the selector is looked at after four of those, or after two that
/// are echoed. 99 quiet peers beside it wait 0.07 to 0.3 ms for their answers instead of 30.
pub(crate) const MOVED_UNIT: usize = 512;
/// Calls that move less than this cost what they cost as calls.
pub(crate) const MOVED_FREE: usize = 4096;
/// System calls that tasks may try before a busy worker looks at its selector, however few tasks that were: four of the
/// budgets above. A task that a fast peer always keeps ready makes 128 of them a poll, and 128 such polls would be tens
/// of milliseconds in which nobody else is heard.
pub(crate) const LOOK_ATTEMPTS: u32 = 512;
const _: () = assert!(LOOK_ATTEMPTS >= COOPERATIVE_BUDGET);
/// Of how many polls one is timed: two reads of the clock (50 ns) then cost less than a nanosecond a poll. A power of two.
pub(crate) const TIMED_POLLS: u64 = 64;
const _: () = assert!(TIMED_POLLS.is_power_of_two());
/// Places of a histogram of times, each twice as wide as the one before, from 512 ns to 2.1 s and beyond: what a poll or
/// a place in the run queue may cost, in 24 words.
pub(crate) const HISTOGRAM_BUCKETS: usize = 24;
/// The bound of a histogram's first place: a poll that does nothing takes less.
pub(crate) const HISTOGRAM_FIRST_NS: u64 = 512;
/// Empty handler cells that a server keeps per worker: as many requests as commonly run at once.
pub(crate) const RECYCLED_CELLS: usize = 1024;

// reactor

/// Events that one wait fetches. What does not fit comes with the next wait, so this bounds a turn's length.
pub(crate) const EVENT_BATCH: usize = 1024;
/// Waiters of one direction of one source that are kept before it is found out which of them still wait. More than a
/// listener or a socket that is shared by tasks commonly has; 1 KiB.
pub(crate) const WAITERS_KEPT: usize = 64;
/// Further waiters that come before they are asked again: more than really wait for one source, and as many waits as may
/// have been given up meanwhile; 64 KiB.
pub(crate) const WAITERS_UNASKED: usize = 4096;
/// Timers that one turn fires. A million that are due together take turns with tasks and descriptors.
pub(crate) const TIMERS_PER_TURN: usize = 4096;

// worker

/// Tasks polled before the loop flushes and reads the clock.
pub(crate) const TASK_BUDGET: usize = 128;
/// How long a poll may take before it is reported, where that is wanted and nothing else was said: what people notice.
pub(crate) const STALL_LIMIT: Duration = Duration::from_millis(100);
/// The watchdog's shortest pause: a shorter limit must not make it a second worker.
pub(crate) const WATCH_LEAST: Duration = Duration::from_millis(1);
/// Tasks of one worker that a dump lists: descriptors, the commonest thing to wait for, are usually limited to fewer; a
/// worker that lists them is away for some 30 ms, and the text has 6 MB.
pub(crate) const DUMPED_TASKS: usize = 1 << 15;
/// How long a dump waits for the workers' answers, so that it returns within 100 ms.
pub(crate) const DUMP_PATIENCE: Duration = Duration::from_millis(75);
/// Notes of one worker before the dead ones are swept out, at most half of them at a time from then on.
pub(crate) const NOTES_SWEPT: usize = 64;
/// Tasks polled before a busy worker looks at its selector.
pub(crate) const LOOK_EVERY: usize = 128;
/// The most of anything that a builder's setting counts: beyond a million it is a mistake.
pub(crate) const COUNTED_MOST: usize = 1_000_000;
/// The longest that an idle worker spins: longer than any wake-up takes.
pub(crate) const SPIN_LONGEST: Duration = Duration::from_millis(10);
/// The longest busy poll that the kernel is asked for; it would take 35 minutes.
pub(crate) const BUSY_POLL_LONGEST: Duration = Duration::from_secs(1);
/// Spawns from other threads that may wait for a worker; one more is refused.
pub(crate) const INJECTED_SPAWNS: usize = 4096;
/// How long dropping a runtime waits for workers that are inside a poll.
pub(crate) const DROP_DEADLINE: Duration = Duration::from_secs(10);
/// Children of a scope that a dump names where somebody waits for them: a line's worth.
pub(crate) const CHILDREN_SHOWN: usize = 8;
/// How soon a worker looks again whether the blocking job has ended that holds its manual clock: the end of one that
/// nobody waits for wakes nobody.
pub(crate) const HELD_CLOCK: Duration = Duration::from_millis(1);
/// Workers of one runtime. The process has 4,096 in all: the worker's 12 bits in a waker handle.
pub(crate) const MAX_WORKERS: usize = 1024;
/// A block of the worker's read buffer: most of what one socket's buffer holds, read in one call.
pub(crate) const SCRATCH_BLOCK: usize = 64 * 1024;
/// A read buffer with less room than this left is replaced by a new block.
pub(crate) const SCRATCH_LEAST: usize = 16 * 1024;
/// Blocks that a worker remembers while pieces of them are read, to have them back: what it reads of uploads in one turn,
/// as long as that fits a cache. More are left to the allocator.
pub(crate) const SCRATCH_BLOCKS: usize = 6;
/// Output buffers that a worker keeps for connections at work: as many as commonly write in one turn.
pub(crate) const IDLE_OUTPUTS: usize = 128;
/// An output buffer that grew beyond this is given back to the system.
pub(crate) const OUTPUT_KEPT: usize = 64 * 1024;

const _: () = assert!(SCRATCH_LEAST <= SCRATCH_BLOCK);

// blocking

/// Threads for blocking work: enough to keep a disk or a resolver busy, few enough that their stacks (2 MiB
/// of address space each) do not count.
pub(crate) const BLOCKING_THREADS_MAX: usize = 64;

/// Jobs that wait for a thread. Past that the caller is told: more would only make everyone wait longer.
pub(crate) const BLOCKING_QUEUE_MAX: usize = 4096;

/// How long an idle thread stays: starting one costs about 30 µs, so the pauses of steady traffic should
/// not end it.
pub(crate) const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(10);

// channel

/// Values that a channel may hold: its ring is allocated at once.
pub(crate) const CHANNEL_CAPACITY: usize = 1 << 20;

// time

/// How late a tick may be taken and still count as in time: a busy worker is often a few turns late.
pub(crate) const TICK_LATE_NANOS: u64 = 5_000_000;

// net

/// Connections that may wait in a listener's queue, unless the builder says otherwise. It is Linux's own bound
/// (`somaxconn`) since 5.4: a burst of connects is cut by the system and not by us.
pub(crate) const LISTEN_BACKLOG: u32 = 4096;
/// Connections that an accept loop takes before the other tasks of its worker have their turn, and before another worker
/// that shares the queue may find some left: a burst costs 16 calls of accept(2), some 50 µs.
pub(crate) const ACCEPTS_PER_TURN: u32 = 16;
/// Connections that a stopping listener takes off its queue at most: what a kernel lets be queued (`somaxconn` is an
/// int, but the backlog of a socket was 16 bits wide for long). A peer that connects faster must not hold up the end.
pub(crate) const QUEUED_AT_STOP: usize = 65_536;
/// How long connections may go on when an accept loop was stopped and nothing else was said: a request in flight.
pub(crate) const LISTEN_GRACE: Duration = Duration::from_secs(5);
/// How long a listener rests when only time can help: long enough to cost nothing, and short enough that nobody whose
/// connection is queued takes notice.
pub(crate) const ACCEPT_PAUSE_MS: u64 = 50;
/// Dead or shed connections in a row after which a listener rests, so that a flood of them cannot hold its worker.
pub(crate) const ACCEPT_TROUBLES_MAX: u32 = 64;
/// Messages that one `recvmmsg` or `sendmmsg` takes: the kernel's own bound (`UIO_MAXIOV`).
pub(crate) const DATAGRAM_BATCH_MAX: usize = 1024;
/// Messages that one call of `send_batch` hands to the kernel: the gain of more is under a hundredth, and their headers
/// (300 bytes each) should stay in the cache.
pub(crate) const DATAGRAM_SEND_MAX: usize = 64;
const _: () = assert!(DATAGRAM_SEND_MAX <= DATAGRAM_BATCH_MAX);
/// Datagrams of one train: Linux's `UDP_MAX_SEGMENTS` before 6.10, which doubled it.
pub(crate) const SEGMENTS_MAX: usize = 64;
/// Bytes of one train: the longest datagram of IPv4 (65,535 less two heads), in whose place the train is made.
pub(crate) const TRAIN_BYTES_MAX: usize = 65_507;
/// Errors of earlier datagrams that a socket keeps for whoever asks; the kernel's own queue is bounded by the receive buffer.
pub(crate) const KEPT_ERRORS: usize = 64;
/// Received bytes of datagrams that cost a task as much of its budget as a system call does: a train of 64 KiB is worth
/// seventeen calls.
pub(crate) const DATAGRAM_UNIT: usize = 4096;
/// Room that `read_buf` makes in a buffer that has none left: a page.
pub(crate) const READ_BUF_LEAST: usize = 4096;

/// The room that a read of so many bytes makes at a time, in bytes: what a peer says will come takes memory as it comes.
pub(crate) const READ_AHEAD: usize = 64 * 1024;
/// Pieces of a `Buf` that `write_all_buf` hands to one call: 1 KiB of stack.
pub(crate) const WRITE_BUF_SLICES: usize = 64;

/// How long an attempt to connect runs alone before the next address is tried beside it, and the least that may be asked
/// for: RFC 8305 §8.
pub(crate) const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
pub(crate) const ATTEMPT_DELAY_LEAST: Duration = Duration::from_millis(10);
/// The pipe that a copy between two sockets is spliced through: what an unprivileged process may ask for.
pub(crate) const SPLICE_PIPE_BYTES: usize = 1 << 20;
/// What one sendfile(2) is asked to send: more than a socket's buffer takes in one go.
pub(crate) const SEND_FILE_BYTES: usize = 1 << 20;
/// Descriptors beside one message of a Unix socket: Linux's own bound (`SCM_MAX_FD`).
pub(crate) const PASSED_DESCRIPTORS_MAX: usize = 253;
/// The first pause, and the longest, of a call on a Unix socket that can only be tried again: Linux does not tell when a
/// listener's queue, or the buffer of a peer that one is not connected to, has room again.
pub(crate) const UNIX_RETRY_FIRST_MS: u64 = 1;
pub(crate) const UNIX_RETRY_LONGEST_MS: u64 = 64;

// http

/// Bytes that a `Body::channel` holds before its sender waits; frames count what they take to keep.
pub(crate) const CHANNEL_BYTES: usize = 64 * 1024;
/// Pieces of one vectored write: 64 hold a turn of content in 16 KiB frames, each with its head, and more.
pub(crate) const WRITE_SLICES: usize = 64;
/// Received bytes that cost a connection as much of its task's budget as a system call does. Frames of a dozen bytes take
/// about 2 ns a byte: a flood of them has one read of 64 KiB before the others get their turn, and the selector is looked
/// at after four, half a millisecond.
pub(crate) const RECEIVED_UNIT: usize = 512;
/// Requests that a connection may begin in one poll: more than clients send at once, and about a quarter of a millisecond.
pub(crate) const REQUESTS_PER_POLL: usize = 256;
/// Bytes held for peers of which a worker tells the rest of the process: seldom enough that the number they share is
/// not written by every request.
pub(crate) const HELD_UNIT: usize = 64 * 1024;
/// Received content up to which small pieces are put together: a piece costs 70 bytes beside its octets.
pub(crate) const MERGED_CONTENT: usize = 4 * 1024;
/// How long a connection that was ended by us waits for the peer to end it too.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
/// As long as it goes on sending, where it may not have read our answer yet: what nginx allows.
pub(crate) const LINGER_MOST: Duration = Duration::from_secs(30);
/// What may come in each of those seconds: uploads that are faster fill the time before they end.
pub(crate) const LINGER_BYTES: usize = 8 << 20;
/// How long a server that stops waits for those who are no connections yet, since a proxy's header or a handshake of TLS has not
/// come whole: they may not hold up every restart, and have asked for nothing.
pub(crate) const LAST_NEWCOMERS: Duration = H2_LAST_PREFACE;
/// How much longer than the grace a thread waits for a server whose worker does not come out of a poll.
pub(crate) const SHUTDOWN_SLACK: Duration = Duration::from_millis(100);
/// The longest grace: for ever, in numbers that can be added to the time.
pub(crate) const SHUTDOWN_LONGEST: Duration = Duration::from_secs(30 * 365 * 86_400);
/// How long the last words of a connection (a GOAWAY, the rest of a response) may take to be written.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(10);
/// Interim heads (1xx) of one response that wait to be fetched; a server sends one or two, and what is beyond is dropped.
pub(crate) const INTERIM_HEADS: usize = 16;
/// Requests that may wait for room on a client's connection, or for one of its hosts: forty times what a connection
/// usually carries. Past that the caller is told: more would only make everyone wait longer.
pub(crate) const CLIENT_WAITING: usize = 4096;
/// How long a client's connect may take: a lost SYN is sent again after one, three and seven seconds.
pub(crate) const CLIENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long content waits for a 100 (Continue) that may never come (RFC 9110 §10.1.1); as in curl.
pub(crate) const CLIENT_EXPECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections of a client to one host: each carries a hundred requests or more, so the second is for hosts that allow few.
pub(crate) const CLIENT_CONNECTIONS: usize = 4;
/// Connections without requests that a client keeps, over all hosts: 3 KiB and a descriptor each.
pub(crate) const CLIENT_IDLE_CONNECTIONS: usize = 64;
/// How long a client keeps a connection without requests: a little more than servers and middleboxes commonly do.
pub(crate) const CLIENT_IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// How often a client sends a request again that its peer has not processed.
pub(crate) const CLIENT_RETRIES: u32 = 3;
/// The pause before the third attempt after refusals, and what each further pause grows by.
pub(crate) const CLIENT_RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long a client that failed to open a further connection makes do with those that it has.
pub(crate) const CLIENT_REDIAL_PAUSE: Duration = Duration::from_secs(1);

/// Connections of a worker that wait for a proxy's header, and count under no limit until it says whose they are: each has a
/// deadline, and 1 KiB or so.
pub(crate) const UNKNOWN_PEERS_MAX: usize = 4096;

// service

/// Sockets that a service manager may hand over: descriptors of one message, since another process may be next.
pub(crate) const INHERITED_MAX: usize = PASSED_DESCRIPTORS_MAX;
/// The longest name of such a socket, as systemd has it (`FDNAME_MAX`).
pub(crate) const INHERITED_NAME_MAX: usize = 255;
/// How long one step of a handover may take, but for the start of the new process: both ends are on this machine.
pub(crate) const HANDOVER_STEP: Duration = Duration::from_secs(10);
/// How often a process looks whether another that makes the meeting place is through, which takes less than a millisecond.
pub(crate) const HANDOVER_RETRY: Duration = Duration::from_millis(5);
/// How long a new process may take until it is ready; after that the old one waits for the next.
pub(crate) const HANDOVER_START: Duration = Duration::from_secs(300);
/// The longest line of a handover: a name for each descriptor, and the line's first word.
pub(crate) const HANDOVER_LINE: usize = (INHERITED_MAX + 1) * (INHERITED_NAME_MAX + 1);

// testing

/// Room of a connection in memory, unless it is given another: what a socket's buffer commonly holds.
pub(crate) const TEST_LINK_CAPACITY: usize = 64 * 1024;
