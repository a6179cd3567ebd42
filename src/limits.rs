//! Every bound of the system, with its reason, and how the bounds relate.
//!
//! What is refused because of one of these is counted. A bound that an operator may change has its default here and its
//! key in the configuration; the others are constants, since nobody has a reason to turn them.

use std::time::Duration;

// --- names and fields -------------------------------------------------------------------------------------------

/// A POS's name in our API. It must fit a URL path and a log line.
pub const POS_ID_LEN: usize = 64;
/// An account's name: it stands in `notification_url`.
pub const ACCOUNT_ID_LEN: usize = 32;
/// Mercado Pago takes 64 in its narrowest mode (`protocol.md`, question 11).
pub const REFERENCE_LEN: usize = 64;
/// Mercado Pago's ids of payments and merchant orders have 10 to 12 digits today; this many fit 64 bits.
pub const THING_DIGITS: usize = 19;
/// Its ids of intents are UUIDs of 36 characters.
pub const INTENT_ID_LEN: usize = 64;
/// Mercado Pago: a POS's name has fewer than 45 characters.
pub const POS_NAME_LEN: usize = 44;
/// Mercado Pago: an `external_id` of a POS has fewer than 40 letters and digits, that of a store at most 60.
pub const EXTERNAL_POS_LEN: usize = 39;
pub const EXTERNAL_STORE_LEN: usize = 60;
/// Query keys that name a POS. Two is usual; each is compared with each parameter of every poll.
pub const POLL_KEYS: usize = 4;
/// One such value. All of them, joined, must fit the poll's stack buffer.
pub const POLL_VALUE_LEN: usize = 60;
pub const POLL_KEY_LEN: usize = POLL_KEYS * (POLL_VALUE_LEN + 1);
/// The controller's free text beside a state; the app shows it on a telephone.
pub const MESSAGE_LEN: usize = 255;
/// Titles and descriptions of items: what a telephone and a receipt can show. The intents' reference says 100 for a
/// title; the other modes name no limit.
pub const TITLE_LEN: usize = 100;
pub const DESCRIPTION_LEN: usize = 255;
pub const SKU_LEN: usize = 100;
pub const CATEGORY_LEN: usize = 100;
pub const URL_LEN: usize = 500;
/// Items of one order: a rendered reply must stay small enough for one write.
pub const ITEMS: usize = 50;
/// `loyalty` (`protocol.md` 1.5): what its reference says of each text; where it says nothing, what is usual.
pub const LOYALTY_TRANSACTION_LEN: usize = 40;
pub const LOYALTY_INVOICE_LEN: usize = 8;
pub const LOYALTY_STORE_LEN: usize = 5;
pub const LOYALTY_PERIOD_LEN: usize = 4;
pub const LOYALTY_CODE_LEN: usize = 10;
pub const LOYALTY_CASHIER_LEN: usize = 20;
/// Things bought with one visit: fuel, and what the shop sells as one line.
pub const LOYALTY_PRODUCTS: usize = 20;
/// Of litres, and of a price of one.
pub const MEASURE_PLACES: usize = 3;
/// `protocol.md` 6.1.
pub const QUANTITY: u32 = 1_000_000;
/// Digits before the decimal point of an amount. Mercado Pago publishes no maximum; this one keeps every product and sum
/// inside a decimal's 28 digits: 12 + 2 + 7 (quantity) + 2 (items) = 23.
pub const AMOUNT_INTEGER_DIGITS: usize = 12;
/// `metadata` comes back in every event of the order, so it is paid for many times.
pub const METADATA_LEN: usize = 4 * 1024;
/// Why a delivery failed, in the controller's words; or a refund, in Mercado Pago's.
pub const REASON_LEN: usize = 255;
/// A UUID has 36 characters; some clients send hashes in base64.
pub const IDEMPOTENCY_KEY_LEN: usize = 128;
/// Refunds of one order. Mercado Pago takes 20 parts of one payment.
pub const REFUNDS: usize = 64;
/// Pending, rejected and odd payments of one order that are told and remembered. A rejected one costs the customer
/// nothing, so more would let anybody fill the log.
pub const SIGHTINGS: usize = 64;
/// Of these, and of reversals, what one entry tells; the next look tells the rest.
pub const NEWS_PER_ENTRY: usize = 8;

// --- tokens of the control API ----------------------------------------------------------------------------------

/// It stands in a URL and in log lines, as a POS's name does.
pub const TOKEN_NAME_LEN: usize = 64;
/// Each is kept in memory, some 300 bytes, with the names that it opens. A controller has one, and there are 4,096
/// connections; as many again while they are exchanged.
pub const TOKENS: usize = 8_192;
/// Points of sale of one token: all pumps of a large station. Each page of events or orders asks for each of them.
pub const TOKEN_POS: usize = 64;

// --- configuration ----------------------------------------------------------------------------------------------

/// The configuration file, and `/etc/group`. A thousand accounts have some 300 KiB.
pub const CONFIG_BYTES: u64 = 1024 * 1024;
/// A file of secrets. Whoever names `/dev/zero` or a database by mistake hears of it at once.
pub const SECRET_FILE_BYTES: u64 = 16 * 1024;
/// One secret. An access token has some 80 characters; it must fit a header.
pub const SECRET_LEN: usize = 1024;
/// Below this a secret can be guessed by trying; said as a warning, since a test may want a short one.
pub const SECRET_LEN_ADVISED: usize = 16;
/// Secrets of one purpose, so that they can be rotated: the new one, the old one, and two for mistakes. Each is tried
/// on each poll or notification.
pub const SECRETS: usize = 4;
/// Linux: a Unix socket's path has 108 bytes, the last of them zero. At first it has this behind it.
pub const SOCKET_PATH_LEN: usize = 107 - SOCKET_HIDDEN.len();
pub const SOCKET_HIDDEN: &str = ".new";
/// More threads than the largest machine has cores would only cost memory.
pub const POLL_THREADS: usize = 256;
/// `poll.connections` at most: these would take some 11 GiB.
pub const POLL_CONNECTIONS_MAX: usize = 1_000_000;
/// `notifications.public_url`: Mercado Pago takes 500 for the whole, which adds an account, a reference and our mark.
pub const PUBLIC_URL_LEN: usize = 370;
/// Our mark in base64url: 128 bits.
pub const MARK_LEN: usize = 22;
/// A hundred years, so that no sum of times can run over.
pub const KEEP_DAYS_MAX: u32 = 36_500;
/// Silence of the controller after `paid`, until it is an alarm: `account.delivery_seconds`.
pub const DELIVERY_SECONDS_DEFAULT: u32 = 120;
pub const DELIVERY_SECONDS_MAX: u32 = 86_400;

// --- TLS --------------------------------------------------------------------------------------------------------

/// A file with certificates or a key. A chain of four RSA certificates has some 8 KiB.
pub const CERTIFICATE_FILE_BYTES: u64 = 64 * 1024;
/// Certificates of one chain. Each goes out with each full handshake; three are usual.
pub const CERTIFICATES: usize = 8;
/// Sessions of clients that know no tickets, some 200 bytes each. Mercado Pago polls from few machines.
pub const TLS_SESSIONS: usize = 1_024;

// --- who asks ---------------------------------------------------------------------------------------------------

/// Networks of `poll.proxies`. Each is compared with each connection's address.
pub const PROXIES: usize = 64;
/// A PROXY header. Addresses take 28 bytes, what a proxy tells of TLS and of itself some hundreds.
pub const PROXY_HEADER_BYTES: usize = 2_048;
/// Polls for unknown places that a network may send at once, and after so long another one: ten telephones a second can
/// wait at a POS that is registered wrongly, before its polls are told apart from noise.
pub const MISSES: u32 = 100;
pub const MISS_EVERY: Duration = Duration::from_millis(100);
/// Networks whose misses are remembered: 32 KiB. Past it, who misses least is forgotten.
pub const MISS_NETWORKS: usize = 4_096;

// --- time -------------------------------------------------------------------------------------------------------

pub const EXPIRES_IN_SECONDS: std::ops::RangeInclusive<u64> = 1..=86_400;
pub const EXPIRES_IN_SECONDS_DEFAULT: u64 = 300;
pub const LEASE_SECONDS: std::ops::RangeInclusive<u64> = 1..=86_400;
/// A visit begins with the first poll after this long without one.
pub const VISIT_GAP: Duration = Duration::from_secs(30);

// --- HTTP -------------------------------------------------------------------------------------------------------

/// A request's head, whole. Eight KiB is also hyper's smallest buffer.
pub const HEAD_BYTES: usize = 8 * 1024;
pub const HEADERS: usize = 64;
/// From the first byte of a head to its last.
pub const HEAD_TIME: Duration = Duration::from_secs(5);
/// Mercado Pago's polls come seconds apart, and a new connection costs four polls.
pub const POLL_IDLE_TIME: Duration = Duration::from_secs(75);
/// Controllers keep one connection for hours; closing it under them would only make races.
pub const CONTROL_IDLE_TIME: Duration = Duration::from_secs(3600);
/// Over a network, one that has asked nothing yet has shown no token either: it keeps no place for an hour.
pub const CONTROL_FIRST_TIME: Duration = Duration::from_secs(10);
pub const ADMIN_IDLE_TIME: Duration = Duration::from_secs(75);
/// A client that accepts no byte for this long is cut off.
pub const WRITE_TIME: Duration = Duration::from_secs(10);
/// How often connections are looked at for the three limits above; each may be late by this much.
pub const SWEEP: Duration = Duration::from_millis(500);
/// A request body must be whole within this.
pub const BODY_TIME: Duration = Duration::from_secs(10);
/// A control request's body. An order of 50 items with all fields at their limits has some 60 KiB.
pub const BODY_BYTES: usize = 64 * 1024;
/// A notification's body. The largest known carries a whole intent, some KiB.
pub const NOTIFICATION_BYTES: usize = 64 * 1024;
/// Notifications that are read or written at once; each may hold a body. Far below `COMMANDS`, so that no flood of them
/// keeps controllers out.
pub const NOTIFICATIONS: usize = 1_024;
/// So many, and only those by a URL that we gave out are taken.
pub const NOTIFICATIONS_UNSEALED: usize = 512;
/// Brackets within brackets; ours need five, the rest is for `metadata`.
pub const JSON_DEPTH: usize = 16;
/// Connections that the kernel holds until they are accepted. It takes the lower of this and `net.core.somaxconn`.
pub const BACKLOG: i32 = 4_096;
/// Sockets that a service manager hands over: for each thread one to poll and one to poll by TLS, and four of the others.
pub const HANDED_SOCKETS: usize = 2 * POLL_THREADS + 4;
/// How long the service manager may take to hear a word of ours.
pub const MANAGER_TIME: Duration = Duration::from_secs(1);
/// After a failed accept (no file descriptor is free): long enough to let others end, short enough not to be missed.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// One in so many requests is timed: asking the time costs more than all other counting.
pub const LATENCY_SAMPLE: u32 = 64;
/// Open connections: `poll.connections` of the configuration, shared by the poll threads. 11 KiB each.
pub const POLL_CONNECTIONS: usize = 12_000;
/// As many on the Unix socket as over TCP and TLS together.
pub const CONTROL_CONNECTIONS: usize = 4_096;
pub const ADMIN_CONNECTIONS: usize = 64;
/// After a signal: requests in flight may finish.
pub const DRAIN_TIME: Duration = Duration::from_secs(8);

// --- queues -----------------------------------------------------------------------------------------------------

/// Lines of the log that are not written yet, some 300 bytes each. A burst fits; what is more, nobody reads.
pub const LOG_LINES: usize = 4_096;
/// How long an end waits for a reader of the last of them, and how often it looks for room.
pub const LOG_LINES_TIME: Duration = Duration::from_secs(1);
pub const LOG_LINES_PAUSE: Duration = Duration::from_millis(5);
/// Commands that wait for the writer. One that finds it full is refused with 503 at once.
pub const COMMANDS: usize = 8_192;
/// Commands of one commit. More would only make the first of them wait.
pub const COMMIT_COMMANDS: usize = 1_024;
/// A commit of so many commands is followed by a wait for the next ones, so that they share a sync as well: until there are
/// enough, or the thread that serves controllers has nothing left to do. Few who push never wait. More than enough at once
/// would leave that thread idle while they are written.
pub const GATHER_FROM: usize = 16;
pub const GATHER_ENOUGH: usize = 128;
/// How long at most, and how often it is looked whether there are enough.
pub const GATHER_TIME: Duration = Duration::from_millis(4);
pub const GATHER_LOOK: Duration = Duration::from_micros(200);
/// How long a caller waits for its command. A disk that stalls longer is a fault that the controller must see.
pub const COMMAND_TIME: Duration = Duration::from_secs(15);
/// Notifications that are not worked off yet. An order has some ten at most, and those that wait are merged: a thousand
/// orders a minute fit for the minutes that Mercado Pago's API may be away.
pub const INBOX: usize = 10_000;
/// Those of them that anybody could have sent: past it a flood of forged ones is refused, and real ones still find room.
pub const INBOX_UNTRUSTED: usize = 5_000;
/// Rings of the polls' doorbell. A ring that finds it full is rung again by the next poll.
pub const RINGS: usize = 16_384;
/// Events kept in memory for those who follow the whole feed; who falls behind reads the log.
pub const FEED_ALL: usize = 4_096;
/// The same for those who follow one POS.
pub const FEED_POS: usize = 64;
/// Paid orders that no follower was told of, remembered for the alarm: more of them are the same alarm.
pub const UNFETCHED: usize = 10_000;
/// For so long a paid order counts as one that nobody was told of, or whose product nobody spoke of. After a day it is for
/// people and the order's history.
pub const OWED_FOR: Duration = Duration::from_secs(86_400);
/// Events of one long-poll answer, and entries of one read from the log.
pub const FEED_PAGE: usize = 1_000;
/// Stored bytes of one read from the log, unless its first entry alone has more. Each follower that is behind keeps one
/// read in memory, and thousands come back at once after a network fault.
pub const FEED_READ_BYTES: usize = 64 * 1024;
/// Bytes of the events of one long-poll answer, but for its last event. A thousand small events fit; a thousand with
/// the largest metadata would have four times as much.
pub const FEED_PAGE_BYTES: usize = 1024 * 1024;
/// The longest `?wait=`: shorter than what proxies and client libraries allow by default.
pub const FEED_WAIT_SECONDS: u64 = 60;
/// A comment line on a silent event stream, so that both ends notice a dead connection.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Reads of the log that wait for one of its reader's two threads.
pub const READS: usize = 1_024;
/// Rows of one page of `GET /v1/orders` and `GET /v1/pos`.
pub const PAGE_MAX: usize = 1_000;
pub const PAGE_DEFAULT: usize = 100;
/// Stored bytes of one page of `GET /v1/orders`, unless its first order alone has more. Pages are written on the one
/// thread that serves all controllers; a thousand usual orders fit, a thousand of the largest would stop it for seconds.
pub const ORDERS_PAGE_BYTES: usize = 1024 * 1024;
/// Bytes of one page of `GET /v1/pos`, but for its last point of sale: each may have an open order, and so the same holds.
pub const POS_PAGE_BYTES: usize = 1024 * 1024;

// --- Mercado Pago's API -----------------------------------------------------------------------------------------

/// Name, TCP and TLS together.
pub const API_CONNECT_TIME: Duration = Duration::from_secs(3);
/// One try, from the connection to the last byte of its answer.
pub const API_TRY_TIME: Duration = Duration::from_secs(10);
/// A call with all its tries and pauses.
pub const API_CALL_TIME: Duration = Duration::from_secs(30);
pub const API_TRIES: u32 = 3;
/// The pause before the second try is random up to this, and before each further one up to twice as much.
pub const API_PAUSE: Duration = Duration::from_millis(500);
/// A `Retry-After` up to this is waited for within the call; of a longer one the caller is told.
pub const API_RETRY_AFTER: Duration = Duration::from_secs(10);
/// The longest `Retry-After` that is believed.
pub const API_PATIENCE: Duration = Duration::from_secs(3600);
/// After this many failures in a row the API is left alone,
pub const API_FAILURES: u32 = 5;
/// but for one probe in this time, and for what somebody at a machine waits for.
pub const API_REST: Duration = Duration::from_secs(2);
/// Calls under way, their pauses included: all looks and errands at once.
pub const API_CONNECTIONS: usize = 2_048;
/// Idle connections kept. At a tenth of a second each, 320 calls a second.
pub const API_IDLE: usize = 32;
/// Shorter than servers keep a connection, so that few are closed under a request.
pub const API_IDLE_TIME: Duration = Duration::from_secs(30);
/// An answer. A page of merchant orders has some 100 KiB, a QR's picture less.
pub const API_ANSWER_BYTES: usize = 1024 * 1024;
/// An answer's head, which is also a connection's read buffer.
pub const API_HEAD_BYTES: usize = 64 * 1024;
/// Texts, words and causes of an error that are kept: what fits a line of the log.
pub const API_TEXT_LEN: usize = 300;
pub const API_WORD_LEN: usize = 64;
pub const API_CAUSES: usize = 8;
/// One page of a search, and the pages of one search: a thousand scans of one order.
pub const API_PAGE: usize = 50;
pub const API_PAGES: usize = 20;

// --- links (OAuth) ----------------------------------------------------------------------------------------------

/// How long an access token of a link lives at most, and if the answer does not say so: 180 days (`protocol.md` 8.2).
pub const TOKEN_LIFE: Duration = Duration::from_secs(180 * 86_400);
/// It is refreshed when a tenth of its life is left, or this much if that is less: time enough to mend what stops it.
pub const TOKEN_MARGIN: Duration = Duration::from_secs(10 * 86_400);
/// A refresh that failed is tried again after this, and then after twice as long each time: up to a minute while the
/// account has no token, up to an hour while it has one.
pub const LINK_AGAIN_FIRST: Duration = Duration::from_secs(1);
pub const LINK_AGAIN_MUTE: Duration = Duration::from_secs(60);
pub const LINK_AGAIN_LAST: Duration = Duration::from_secs(3_600);
/// A link that is cut is tried again this often, since who gave it may have mended it.
pub const LINK_CUT_AGAIN: Duration = Duration::from_secs(3_600);
/// Notifications and refused calls make a link be looked at at once, and then not again for this long: anybody can send
/// notifications, and each look takes a new token.
pub const LINK_DOUBT_PAUSE: Duration = Duration::from_secs(600);
/// Links that are refreshed at once. A restart of the API's side must not find a thousand in its queue.
pub const LINK_REFRESHES: usize = 4;
/// A file of tokens. Two secrets and some numbers.
pub const TOKEN_FILE_BYTES: u64 = 16 * 1024;

/// A POS's URL: Mercado Pago takes under 300 characters.
pub const POS_URL_LEN: usize = 299;
/// What a one-use QR code says: an EMVCo text has at most 512 characters; this leaves room.
pub const QR_DATA_LEN: usize = 1_024;
/// The side of a picture of a QR code. One to print has some 1,000 pixels; this many take 36 MiB to read.
pub const QR_PIXELS: u32 = 3_000;

// --- orders that are put at Mercado Pago ------------------------------------------------------------------------

/// The longest `?wait=` of a push: shorter than the time that the command line gives a call.
pub const SEND_WAIT_SECONDS: u64 = 30;
/// How long a cancel waits for Mercado Pago before it answers that it is undecided.
pub const CANCEL_WAIT: Duration = Duration::from_secs(5);

// --- the tracker ------------------------------------------------------------------------------------------------

/// From when on an order is looked at without a notification: most are paid, and notified of, before.
pub const LOOK_AFTER_SHOWN: Duration = Duration::from_secs(10);
/// That it was shown may have been lost in a crash.
pub const LOOK_AFTER_READY: Duration = Duration::from_secs(30);
pub const LOOK_WHILE_OPEN: Duration = Duration::from_secs(10);
/// After its end an order may still be paid on a telephone that has a copy of it (`protocol.md`, question 8).
pub const LOOK_AFTER_END: Duration = Duration::from_secs(30);
pub const LOOK_OFTEN: Duration = Duration::from_secs(3_600);
pub const LOOK_SELDOM: Duration = Duration::from_secs(3_600);
pub const LOOK_LONG: Duration = Duration::from_secs(86_400);
/// How long a start waits for the tracker to read which orders it is to watch: some ten thousand.
pub const RECALL_TIME: Duration = Duration::from_millis(500);
/// How long an order's expiry waits for the last look at the API.
pub const LAST_LOOK: Duration = Duration::from_secs(10);
/// Orders that have it at once, and as many that wait for it. One that finds it full is told again after a second.
pub const EXPIRING: usize = 1_024;
/// Other looks and refunds at once. Each has one connection at a time, or two. How many begin is for the budget to say:
/// where Mercado Pago takes five seconds for each answer, this many are under way.
pub const LOOKS: usize = 128;
/// Orders on their way to Mercado Pago, or off it, at once: one slow POS must not hold up another.
pub const ERRANDS: usize = 1_024;
/// Errands do not wait for the budget, and take half of it at most: this much of their half they may take beforehand.
pub const ERRANDS_OVERDRAW: Duration = Duration::from_secs(2);
/// By how much a search may be behind, as far as we care: what left its place is looked for after this, before it is put
/// there again. Mercado Pago names no figure.
pub const SEARCH_BEHIND: Duration = Duration::from_secs(3);
/// Earlier orders of a POS among which the one is looked for that may be in the place of its next one.
pub const EARLIER_ORDERS: usize = 4;
/// Of the looks at once, those for notifications that anybody could have sent.
pub const LOOKS_UNTRUSTED: usize = 2;
/// Payments that one look asks for, those not yet recorded first, and things that it was notified of. An order whose
/// price comes in more pieces is told piece by piece, and never becomes paid by itself.
pub const PAYMENTS_PER_LOOK: usize = 16;
/// While looks cannot be made when they are due, one in so many is at an order that has ended: the others are at open ones.
pub const OPEN_BEFORE_ENDED: u8 = 4;
/// What failed is tried again after this, and then after twice as long each time, up to a minute.
pub const AGAIN_FIRST: Duration = Duration::from_secs(1);
pub const AGAIN_LAST: Duration = Duration::from_secs(60);
/// For so long a thing of which we were notified may be unknown to the API itself.
pub const HINT_PATIENCE: Duration = Duration::from_secs(600);
/// If anybody could have sent the notification, it is asked for once more after this.
pub const HINT_AGAIN: Duration = Duration::from_secs(30);
/// By how much Mercado Pago's clock and ours may differ.
pub const CLOCKS_APART: Duration = Duration::from_secs(300);
/// `mercadopago.calls_per_second`. Mercado Pago publishes no limit; third parties speak of 25.
pub const CALLS_PER_SECOND: u32 = 20;
pub const CALLS_PER_SECOND_MAX: u32 = 1_000;

// --- the command line ------------------------------------------------------------------------------------------

/// How long a command waits for its answer: longer than the server lets its own writer take.
pub const CLIENT_TIME: Duration = Duration::from_secs(30);
/// An answer, whole. The largest is a page of orders.
pub const CLIENT_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Requests in flight of `pos import`: enough to fill group commits, too few to keep controllers waiting.
pub const IMPORT_IN_FLIGHT: usize = 16;
/// One event of the feed as `watch` reads it: an order's, with its metadata and payments, is far smaller.
pub const WATCH_EVENT_BYTES: usize = 1024 * 1024;
/// A feed without even a heartbeat for this long is dead.
pub const WATCH_SILENCE: Duration = Duration::from_secs(45);
/// How often, a pause apart, `watch` looks for a server that went away: long enough for a restart.
pub const WATCH_TRIES: u32 = 60;
pub const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// What is damaged, named one by one; the rest is counted.
pub const DAMAGE_TOLD: u64 = 20;

// --- the sandbox -----------------------------------------------------------------------------------------------

/// Merchant orders that a sandbox holds, and as many intents; more are refused. Each takes some 4 KiB.
pub const SANDBOX_ORDERS: usize = 100_000;
/// Payments over all merchant orders, attempts on one, and refunds of one payment (`protocol.md`, 7).
pub const SANDBOX_PAYMENTS: usize = 200_000;
pub const SANDBOX_ATTEMPTS: usize = 100;
pub const SANDBOX_REFUNDS: usize = 20;
/// Codes of consents that nobody has used yet, and access tokens of one link.
pub const SANDBOX_CODES: usize = 1_000;
pub const SANDBOX_TOKENS: usize = 1_000;
/// Points of sale, and as many stores.
pub const SANDBOX_POS: usize = 10_000;
/// Telephones that ask at once. One that is done makes room.
pub const SANDBOX_SCANS: usize = 20_000;
/// A telephone waits this long for one answer of a POS's URL.
pub const SANDBOX_POLL_TIME: Duration = Duration::from_secs(10);
/// An answer to a poll or a notification.
pub const SANDBOX_ANSWER_BYTES: usize = 64 * 1024;
/// Notifications that are yet to be delivered, and of those how many are on their way at once.
pub const SANDBOX_NOTIFICATIONS: usize = 100_000;
pub const SANDBOX_SENDING: usize = 64;
/// What happened, kept for whoever asks; and what was wrong with what we were sent.
pub const SANDBOX_EVENTS: usize = 10_000;
pub const SANDBOX_VIOLATIONS: usize = 1_000;
/// Bytes of a body that an event shows. A merchant order with two payments has some 2 KiB.
pub const SANDBOX_QUOTE: usize = 4 * 1024;
/// How old a stale search can be: older states of merchant orders are forgotten.
pub const SANDBOX_STALE: Duration = Duration::from_secs(3_600);
/// Rows of one page of a search.
pub const SANDBOX_PAGE: usize = 100;
/// Jobs of the process that has it in itself.
pub const SANDBOX_JOBS: usize = 1_024;
pub const SANDBOX_CONNECTIONS: usize = 1_024;

// --- the command line ------------------------------------------------------------------------------------------

/// How long `surtidor health` waits for the server; the probes of containers wait no longer either.
pub const PROBE_TIME: Duration = Duration::from_secs(5);
/// Of its answer: a line for each account at most.
pub const PROBE_BYTES: u64 = 64 * 1024;

// --- the demo --------------------------------------------------------------------------------------------------

/// Browsers that look at its page. Each holds one for the stream of what happens, and a few more for a moment.
pub const DEMO_CONNECTIONS: usize = 64;
/// What a visitor does is a few words.
pub const DEMO_BODY_BYTES: usize = 1024;
/// Lines of the protocol that are kept for who comes later, and bytes of each body they show.
pub const DEMO_LINES: usize = 500;
pub const DEMO_QUOTE: usize = 6 * 1024;
/// Lines that one chunk of a page's stream holds, and chunks that wait for a slow page.
pub const DEMO_CHUNK_LINES: usize = 50;
pub const DEMO_CHUNKS: usize = 2;
/// Calls of one machine that wait while the server is away. Past it a visitor is told to wait.
pub const DEMO_CALLS: usize = 32;
/// What became of one sale: more than all that can go wrong with it at once.
pub const DEMO_NEWS: usize = 24;
/// A killed server stays away for this long, so that it is seen.
pub const DEMO_DOWN: Duration = Duration::from_secs(3);
/// From the start of the server's process until it serves.
pub const DEMO_START: Duration = Duration::from_secs(20);
/// Starts that may fail in a row.
pub const DEMO_STARTS: u32 = 3;
/// The server's own end, before it is killed.
pub const DEMO_END: Duration = Duration::from_secs(5);
/// The pause of a machine whose call was not answered, and of whoever follows a feed that broke off.
pub const DEMO_AGAIN: Duration = Duration::from_millis(400);
/// How long something is waited for that a telephone or the server is to do, within what a button does.
pub const DEMO_PATIENCE: Duration = Duration::from_secs(20);

// --- the log ----------------------------------------------------------------------------------------------------

/// Events of one entry: an event's number is its entry's × 16 + its place.
pub const EVENTS_PER_ENTRY: u64 = 16;
/// References, amounts and payments are kept this long at least: a reference is never used again.
pub const KEEP_ORDERS_DAYS: u32 = 400;
/// Entries (the feed's memory): `data.keep_days`.
pub const KEEP_ENTRIES_DAYS: u32 = 400;
/// Room that is given back when the disk is full, so that payments already made can still be recorded.
pub const BALLAST_BYTES: u64 = 8 * 1024 * 1024;
/// Room beyond the ballast before the disk counts as having room again; else it would be full with the next push.
pub const BALLAST_HEADROOM_BYTES: u64 = 1024 * 1024;
/// How often the ballast is tried to be written again while the disk is full.
pub const BALLAST_RETRY: Duration = Duration::from_secs(1);
/// A checkpoint copies the write-ahead log into the database. Rarely enough that it does not show in a push's p99: a push
/// writes about two pages of 4 KiB.
pub const CHECKPOINT_PAGES: u32 = 2_048;
/// What the write-ahead log is laid out with: room for that many pages and the start of the next commit.
pub const WAL_BYTES: u64 = 9 * 1024 * 1024;
/// Room on the disk without which it is not laid out: as much as it may take while commands wait.
pub const WAL_ROOM: u64 = 256 * 1024 * 1024;
/// While commands wait it is put off, until the write-ahead log has 256 MiB: what a restart reads again.
pub const CHECKPOINT_PAGES_BUSY: u32 = 65_536;
/// Entries that the tables of orders and of POS may lack, in memory until then; and those that they take up at once. Whoever
/// adds more pays for it in the same commit.
pub const TABLES_BEHIND: usize = 2_048;
pub const TABLES_PIECE: usize = COMMIT_COMMANDS;
/// And at once while nobody waits for them: a third of a millisecond, since on a small machine polls wait for that long.
pub const TABLES_BIT: usize = 8;
/// When the tables are looked at: often enough that there is little to do, rarely enough that no push feels it.
pub const TABLES_EVERY: Duration = Duration::from_millis(50);
/// How often the room that is left on the disk is looked at: a disk fills in minutes at the fastest.
pub const SPACE_EVERY: Duration = Duration::from_secs(10);
/// Rows deleted by one commit of the trimmer, so that no push waits long for it.
pub const TRIM_ROWS: usize = 500;
pub const TRIM_EVERY: Duration = Duration::from_secs(600);
/// History that one session of the trimmer may go through. A wall clock that is years ahead then takes days to do harm,
/// time enough to be seen; a server that was off for a year has caught up after three.
pub const TRIM_STEP: Duration = Duration::from_secs(86_400);
/// Further from the newest entry than this, in either direction, the wall clock is doubted at start. A server is
/// seldom off for a month; a minute is more than time services step back.
pub const CLOCK_AHEAD: Duration = Duration::from_secs(30 * 86_400);
pub const CLOCK_BEHIND: Duration = Duration::from_secs(60);

const _: () = assert!(API_CONNECT_TIME.as_millis() < API_TRY_TIME.as_millis());
const _: () = assert!(ERRANDS + 2 * LOOKS <= API_CONNECTIONS);
const _: () = assert!(
    API_TRY_TIME.as_millis() + API_RETRY_AFTER.as_millis() + API_CONNECT_TIME.as_millis() < API_CALL_TIME.as_millis(),
    "a call can try, be told to wait, and try again"
);
const _: () = assert!(
    POLL_KEY_LEN < 256,
    "the poll's key buffer is on its stack, its length in a byte"
);
const _: () = assert!(AMOUNT_INTEGER_DIGITS + 2 + 7 + 2 <= 28, "a decimal has 28 digits");
const _: () = assert!(KEEP_ENTRIES_DAYS >= 1 && KEEP_ORDERS_DAYS >= 400);
const _: () = assert!(COMMIT_COMMANDS <= COMMANDS);
const _: () = assert!(INBOX_UNTRUSTED < INBOX);
const _: () = assert!(NOTIFICATIONS_UNSEALED < NOTIFICATIONS && NOTIFICATIONS * 4 <= COMMANDS);
const _: () = assert!(
    PUBLIC_URL_LEN + "/".len() + ACCOUNT_ID_LEN + "?r=".len() + REFERENCE_LEN + "&t=".len() + MARK_LEN < URL_LEN,
    "the account, an order's reference and our mark are put behind the public URL"
);
const _: () = assert!(SECRETS * SECRET_LEN < SECRET_FILE_BYTES as usize);
const _: () = assert!(METADATA_LEN < BODY_BYTES);
const _: () = assert!(
    SWEEP.as_millis() * 2 < HEAD_TIME.as_millis(),
    "a limit must be seen soon after it passed"
);
const _: () = assert!(
    CLIENT_TIME.as_secs() > COMMAND_TIME.as_secs() + BODY_TIME.as_secs(),
    "the server gives up first"
);
const _: () = assert!(
    (ORDERS_PAGE_BYTES + BODY_BYTES) * 4 < CLIENT_ANSWER_BYTES && POS_PAGE_BYTES + BODY_BYTES * 4 < CLIENT_ANSWER_BYTES,
    "a page of the largest orders fits, on points of sale as well"
);
const _: () = assert!(
    WATCH_SILENCE.as_secs() >= 2 * HEARTBEAT.as_secs(),
    "one heartbeat may be late"
);
