/* Writers of a segment against its sealing, its claim and its emptying.

   What it stands for:
     writer   SegmentHeap::Append (under the shard's lock), Item::Write, CacheImpl::Link (CountOut of
              the item that was replaced, under the chain's lock), ReclaimIfEmpty and EndWrite
     deleter  CacheImpl::Remove and ReclaimIfEmpty
     sealer   SegmentHeap::SealTail and AfterSeal: gives back a tail, or has none to give back
     evictor  SegmentHeap::ClaimFor, as called by FindEvictable under mu_, and Drain
   One segment, which two writers write the same key to. Once free it may be used again, at once and
   whole, for somebody who came late: it holds one item then. The words of Segment (writers, used_items, state) and the cells of its GoneCounts, of which
   the processes use two, are read one by one where the code does so. seq_cst orders them: see
   Segment::Move, ReclaimEmpty and EndWrite.

   Shown: only a sealed segment is claimed, and once; who drains it finds every item in it written; it
   is free only when nothing in it is live; it stays sealed while its tail is given back; and if
   everything in it is gone, somebody frees it.
   mutants: SEALER_IS_NO_WRITER END_FORGETS NO_WRITERS_CHECK NO_STATE_CHECK SEALER_FORGETS NO_LIVE_CHECK */

#define ROOM 2

mtype = { Open, Sealed, Draining, Free };
mtype state = Open;
byte writers = 0;
byte used = 0;
byte gone[2];
#define GONE (gone[0] + gone[1]) /* Where nobody else counts. */
#define COUNT_GONE gone[_pid % 2]++
bool written[ROOM];
byte slot = 0; /* The index: 1 + the item of the key. */
bool is_tail = true;

bool shard_mu = false; /* Shard::mu */
bool mu = false;       /* SegmentHeap::mu_ */
bool chain = false;    /* ChainLock */
byte running = 0;

#define LOCK(l)   atomic { !l -> l = true }
#define UNLOCK(l) l = false

/* mu is held. */
#define CLAIM d_step { assert(state == Sealed); state = Draining }

/* The items that the index still finds here, one by one. */
/* `is_empty`: as the claimer saw it, and then nothing must get lost. */
inline Drain(is_empty) {
  at = 0;
  do
  :: at < used ->
    assert(written[at]);
    LOCK(chain);
    if
    :: slot == at + 1 -> assert(!is_empty); slot = 0; COUNT_GONE
    :: else
    fi;
    UNLOCK(chain);
    at++
  :: else -> break
  od;
  assert(GONE == used);
  LOCK(mu);
  assert(state == Draining);
  state = Free;
  UNLOCK(mu);
  at = 0
}

inline ReclaimIfEmpty() {
  if
  :: state == Sealed ->
    left = gone[0];
    left = left + gone[1];
    if
    :: used == left ->
      LOCK(mu);
      may = true;
#ifndef NO_STATE_CHECK
      if :: state != Sealed -> may = false :: else fi;
#endif
#ifndef NO_WRITERS_CHECK
      if :: may && writers != 0 -> may = false :: else fi;
#endif
#ifndef NO_LIVE_CHECK
      left = gone[0];
      left = left + gone[1];
      if :: may && left != used -> may = false :: else fi;
#endif
      if
      :: may -> CLAIM; UNLOCK(mu); Drain(true)
      :: else -> UNLOCK(mu)
      fi;
      may = false
    :: else
    fi
  :: else
  fi;
  left = 0
}

proctype Writer() {
  byte mine, old, at, left;
  bool may = false;
  bool has = false;

  LOCK(shard_mu);
  if
  :: is_tail && used < ROOM -> writers++; mine = used; used++; has = true
  :: else
  fi;
  UNLOCK(shard_mu);
  if
  :: has ->
    written[mine] = true;
    LOCK(chain);
    old = slot;
    if
    :: slot = mine + 1        /* Insert or Replace. */
    :: slot = 0; COUNT_GONE  /* Flushed meanwhile: it counts as gone, and so does the old one. */
    fi;
    if
    :: old != 0 -> COUNT_GONE
    :: else
    fi;
    UNLOCK(chain);
    if
    :: old != 0 -> ReclaimIfEmpty()
    :: else
    fi;
    assert(state == Open || state == Sealed); /* Not claimed while it is written. */
    writers--;
#ifndef END_FORGETS
    ReclaimIfEmpty()
#endif
  :: else
  fi;
  running--
}

proctype Deleter() {
  byte at, left;
  bool may = false;
  bool did = false;

  LOCK(chain);
  if
  :: slot != 0 -> slot = 0; COUNT_GONE; did = true
  :: else
  fi;
  UNLOCK(chain);
  if
  :: did -> ReclaimIfEmpty()
  :: else
  fi;
  running--
}

proctype Sealer() {
  byte at, left;
  bool may = false;
  bool gives_back = false;

  LOCK(shard_mu);
  is_tail = false;
  LOCK(mu);
  if
  :: gives_back = true
  :: true
  fi;
#ifndef SEALER_IS_NO_WRITER
  if
  :: gives_back -> writers++
  :: else
  fi;
#endif
  d_step { assert(state == Open); state = Sealed }
  UNLOCK(mu);
  UNLOCK(shard_mu);
  if
  :: gives_back ->
    assert(state == Sealed); /* The system call begins, */
    assert(state == Sealed); /* and ends. */
#ifndef SEALER_IS_NO_WRITER
    writers--
#endif
  :: else
  fi;
#ifndef SEALER_FORGETS
  ReclaimIfEmpty();
#endif
  running--
}

proctype Evictor() {
  byte at;
  bool claimed = false;

  LOCK(mu);
  if
  :: state == Sealed && writers == 0 -> CLAIM; claimed = true
  :: else
  fi;
  UNLOCK(mu);
  if
  :: claimed -> Drain(false)
  :: else
  fi;
  running--
}

/* What is said and written of a segment that is opened, filled and sealed again. */
proctype Reuser() {
  if
  :: d_step {
       state == Free && !mu ->
       state = Sealed; used = 1; gone[0] = 0; gone[1] = 0; written[0] = true; slot = 1
     }
  :: true
  fi;
  running--
}

init {
  atomic {
    running = 4;
    run Sealer();
    run Writer();
    if /* All five together are three times the states, and show nothing more. */
    :: run Writer(); run Deleter()
    :: run Writer(); run Evictor()
    :: run Deleter(); run Evictor()
    :: run Deleter(); run Reuser()
    fi
  }
  running == 0;
  /* Nobody is left who would free it. */
  assert(state == Free || GONE != used)
}
