/* A reader's pin against the reuse of a segment.

   What it stands for:
     reader    HashTable::Read, the first load of a slot; Pins::TakeSlot and Publish; CacheImpl::Look,
               the second load, SamePlace, and the reading of the item; Pins::Clear
     reclaimer HashTable::Remove (the slot), then Pins::Published as called at the end of
               SegmentHeap::Drain and in Reap (the cells), then Free, a later Open, and Item::Write
               and HashTable::Insert of another item, or of the same key, at the same place
   One slot, one place in one segment, two readers of two rounds, three reuses. A cell stands as well
   for the count in Segment::pins, which follows the same rule.

   Every step is one operation in one order that all threads agree on. The code has that order where
   it matters: the publishing store, both loads of the slot, its removal and the loads of the cells are
   seq_cst. The bytes of the item are ordered by them (release and acquire).

   Shown: what a reader holds is never written to.
   mutants: NO_SECOND_LOOK PUBLISH_LATE CELLS_BEFORE_SLOT REGISTER_LATE */

#define READERS 2
#define ROUNDS  2
#define REUSES  3

#define NONE 0
#define HERE 1 /* The slot says: in this segment, at this place. */

byte slot = HERE;
byte written = 0;     /* How often the place was written to. */
bool writing = false; /* Between two states of the bytes. */
byte cell[READERS];   /* HERE: published. */
byte lines = 0;       /* Pins: ever_taken. */

proctype Reader(byte me) {
  byte round, seen, now, version;

#ifndef REGISTER_LATE
  atomic { if :: lines <= me -> lines = me + 1 :: else fi }
#endif
  do
  :: round < ROUNDS ->
    round++;
    seen = slot;
    if
    :: seen == NONE -> goto again
    :: else
    fi;
#ifndef PUBLISH_LATE
    cell[me] = HERE;
#endif
    now = slot;
#ifdef REGISTER_LATE
    atomic { if :: lines <= me -> lines = me + 1 :: else fi }
#endif
#ifdef PUBLISH_LATE
    cell[me] = HERE;
#endif
#ifndef NO_SECOND_LOOK
    if
    :: now != seen -> cell[me] = NONE; goto again
    :: else
    fi;
#endif
    /* Found: the value is held from here .. */
    atomic { assert(!writing); version = written }
    assert(!writing && version == written);
    /* .. to here. */
    cell[me] = NONE;
again:
    seen = NONE; now = NONE; version = 0
  :: else -> break
  od
}

proctype Reclaimer() {
  byte reuse, i, known;

  do
  :: reuse < REUSES ->
    reuse++;
#ifndef CELLS_BEFORE_SLOT
    slot = NONE;
#endif
look:
    known = lines;
    i = 0;
    do
    :: i < known ->
      if
      :: cell[i] == HERE -> goto look /* In limbo: looked at again later. */
      :: else -> i++
      fi
    :: else -> break
    od;
#ifdef CELLS_BEFORE_SLOT
    slot = NONE;
#endif
    writing = true;
    written++;
    writing = false;
    if
    :: slot = HERE /* The key again, or one of the same chain and tag. */
    :: skip        /* Another key. */
    fi
  :: else -> break
  od
}

init {
  atomic {
    run Reader(0);
    run Reader(1);
    run Reclaimer()
  }
}
