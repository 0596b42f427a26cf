-- The first tables. Instants and spans are integer microseconds; ids and bodies are stored as they came.
-- `seq` is the order of acceptance: every other table names an ingestion by it.

create table clock (
  single integer primary key check (single = 1),
  epoch text not null,                 -- what the reference clock belongs to: the boot id
  offset_us integer not null,          -- ledger time = reference + offset
  touches integer not null default 0   -- how often somebody who watches the reference has looked, where it may step
);

create table source (
  name text primary key,
  rules text not null,                 -- CallRules as JSON: what every process obeys
  failures integer not null default 0, -- calls in a row that failed or were refused
  closed_until integer,                -- only one probe at a time, and none before this instant
  closed_reason text,
  pruned_until integer not null default 0 -- entries of its calls are known one by one if their u is later
) without rowid;

create table quota (
  name text primary key,
  windows text not null,               -- [[limit, span_us], ...]
  pacing text not null,
  next_at integer not null default 0,
  blocked_until integer not null default 0,
  slowdown integer not null default 1, -- the pace is stretched by it: the source throttled us within quota
  slowed_at integer not null default 0,
  last_at integer not null,            -- the latest instant that this quota's ledger time has shown
  last_wall integer not null           -- the wall clock at that instant
) without rowid;

create table quota_source (
  source text not null,
  quota text not null,
  left_at integer,                     -- its source named it until then; null: it is charged to it
  primary key (source, quota)
) without rowid;

create table ticket (
  source text primary key,             -- who waits for room in quotas that it shares
  number integer not null,             -- the older goes first
  cost integer not null,               -- the room that younger ones leave
  due_at integer not null              -- when it will ask again; not asked for soon after, it lapses
) without rowid;

create table ledger (
  entry integer primary key autoincrement,
  source text not null,
  worker text not null,
  seq integer not null,                -- the batch that it was claimed for, with its fence
  number integer not null,
  fence integer not null,
  cost integer not null,
  granted_at integer not null,         -- g
  written_at integer,                  -- w
  answered_at integer,                 -- for readers: u may be earlier, where the source counts early for sure
  occupied_until integer,              -- u; null while it is out
  carried_us integer not null default 0, -- of that, time that nobody watched, which only short windows count
  in_flight integer not null default 1 -- until answered, given up or rescued
);
create index ledger_in_flight on ledger (source) where in_flight = 1;
create index ledger_source on ledger (source, entry);

create table ledger_charge (
  quota text not null,
  entry integer not null,
  cost integer not null,
  occupied_until integer,
  carried_us integer not null default 0, -- as the entry's
  primary key (entry, quota)
) without rowid;
create index ledger_charge_held on ledger_charge (quota, occupied_until, cost, carried_us);

create table quota_bucket (
  quota text not null,
  width_us integer not null,           -- a thousandth of a window's span; a minute: totals kept for 32 days
  ends_at integer not null,            -- what is in it occupies the window until then
  cost integer not null,
  primary key (quota, width_us, ends_at)
) without rowid;

create table ingestion (
  seq integer primary key autoincrement,
  ingestion_id text not null unique,
  client text not null,
  source text not null,
  priority integer not null,
  size integer not null,               -- ids in a batch, fixed at acceptance
  id_count integer not null,
  distinct_count integer not null,
  batch_count integer not null,
  next_batch integer not null default 0,
  waiting integer not null default 1,  -- 1: has a batch that may begin now
  begun integer not null default 0,    -- distinct ids whose batches have begun, or never will
  fetched integer not null default 0,
  missing integer not null default 0,
  failed integer not null default 0,
  cancelled integer not null default 0,
  accepted_at integer not null,        -- wall time, as ended_at and cancelled_at
  ended_at integer,
  cancelled_at integer,
  idempotency_key text,
  fingerprint blob
);
create index ingestion_waiting on ingestion (source, priority, seq, batch_count, next_batch) where waiting = 1;
create index ingestion_client on ingestion (client, seq);
create unique index ingestion_key on ingestion (client, idempotency_key) where idempotency_key is not null;

create table id_chunk (
  seq integer not null,
  start integer not null,              -- position of its first id in the list
  distinct_count integer not null,
  repeats text,                        -- {"offset": first position}, null if nothing repeats
  ids text not null,                   -- JSON array
  primary key (seq, start)
) without rowid;

create table batch (
  seq integer not null,
  number integer not null,
  source text not null,
  priority integer not null,
  status text not null,
  ready integer not null,              -- 1: may be claimed now
  not_before integer,                  -- the earliest next attempt, in ledger time
  attempt integer not null,            -- of the first group still to do, from 1
  fence integer not null,
  worker text,                         -- who holds it
  lease_until integer,
  todo text,                           -- groups of positions still to do; null: nothing is left
  left_count integer not null,         -- ids still to do
  rescues integer not null default 0,
  failed integer not null default 0,   -- ids of it that failed
  reason text,                         -- what went wrong last
  triggered_at integer not null,       -- wall time
  ended_at integer,
  primary key (seq, number)
) without rowid;
create index batch_ready on batch (source, priority, seq, number) where ready = 1;
create index batch_due on batch (source, not_before, seq, number) where not_before is not null;
create index batch_held on batch (worker, lease_until) where worker is not null;

create table record (
  seq integer not null,
  position integer not null,           -- where the id first stands in the list
  ending text not null,
  body blob,                           -- the record's own bytes
  reason text,
  ended_at integer not null,           -- wall time
  primary key (seq, position)
) without rowid;
create index record_not_fetched on record (seq, ending, position) where ending <> 'fetched'; -- few, and looked for

create table worker (
  worker text primary key,
  host text not null,
  pid integer not null,
  version text not null,
  sources text not null,               -- JSON array: those that it calls
  started_at integer not null,         -- wall time, as seen_at
  seen_at integer not null             -- its last sign of life, where processes give one
) without rowid;
