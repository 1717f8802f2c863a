/* A chain of buckets that is changed under its lock, and a reader that takes none.

   What it stands for:
     reader  HashTable::Read, with the compare-and-swap of Slot::kOut in CacheImpl::Look
     writer  HashTable::Insert and Remove, run under ChainLock (one writer a chain stands for that);
             MoveTo as far as it asks whether the token is out
     other   the writer of another chain, which takes the overflow buckets that this one gives back
   Buckets of two slots instead of seven; two chains; two overflow buckets; one item, A, that is there
   all the time, and others that come and go. head is one word: version and next are read together.

   Every step is one atomic operation of the code, in one order that all threads agree on. The code
   orders what matters by release and acquire through the version (Remove, Read), and by seq_cst on
   slots.

   Shown: a reader always finds A; once a reader was told A's token, whoever holds the lock sees that
   it is out.
   mutants: NO_VERSION HOLE_LAST NO_OUT_MERGE NO_LOOK_AGAIN */

#define SLOTS   2
#define BUCKETS 4 /* 0 and 1 begin the chains; 2 and 3 are for overflow. */
#define CHANGES 3

#define FREE  0
#define A     1
#define A_OUT 2
#define OTHER 3

#define AT(b, i) slots[(b) * SLOTS + (i)]
#define IS_A(x)  ((x) == A || (x) == A_OUT)

byte slots[BUCKETS * SLOTS];
byte next[BUCKETS]; /* 0: none. */
byte version;       /* Of chain 0. */
bool used[BUCKETS];
bool told = false;  /* A reader has A's token. */

proctype Reader() {
  byte seen, bucket, after, i, word;
  byte now, now_next;

  atomic { seen = version; after = next[0] }
again:
  bucket = 0;
  i = 0;
  do
  :: i == SLOTS ->
    if
    :: after == 0 -> break
    :: else -> atomic { bucket = after; after = 0; i = 0 } ; after = next[bucket]
    fi
  :: else ->
    word = AT(bucket, i);
    if
    :: word == FREE -> break
    :: IS_A(word) ->
      /* The compare-and-swap. If it fails the slot is looked at again: A or something else. */
      atomic {
        if
        :: IS_A(AT(bucket, i)) -> AT(bucket, i) = A_OUT; told = true; goto done
        :: else -> i++
        fi
      }
    :: else -> i++
    fi
  od;
  atomic { now = version; now_next = next[0] }
#ifndef NO_LOOK_AGAIN
  if
  :: now != seen -> atomic { seen = now; after = now_next; now = 0; now_next = 0 } ; goto again
  :: else
  fi;
#endif
  assert(false); /* Missed what was there all the time. */
done:
  skip
}

/* The lock is held: what is told is out, or a move would lose the token. */
#define CHECK_TOKEN \
  atomic { \
    check = 0; \
    do \
    :: check < BUCKETS * SLOTS && slots[check] != A -> check++ \
    :: else -> break \
    od; \
    assert(!told || check == BUCKETS * SLOTS); \
    check = 0 \
  }

inline FindTail(first) {
  atomic {
    tail = first;
    before = first;
    do
    :: next[tail] != 0 -> before = tail; tail = next[tail]
    :: else -> break
    od;
    last = SLOTS - 1;
    do
    :: last > 0 && AT(tail, last) == FREE -> last--
    :: else -> break
    od
  }
}

inline Insert(first) {
  FindTail(first);
  if
  :: AT(tail, last) == FREE -> AT(tail, last) = OTHER
  :: AT(tail, last) != FREE && last + 1 < SLOTS -> AT(tail, last + 1) = OTHER
  :: else ->
    atomic { /* TakeOverflow */
      if
      :: !used[2] -> used[2] = true; fresh = 2
      :: !used[3] -> used[3] = true; fresh = 3
      :: else -> fresh = 0
      fi
    }
    if
    :: fresh != 0 -> AT(fresh, 0) = OTHER; next[tail] = fresh; fresh = 0
    :: else
    fi
  fi
}

inline GiveTail() {
  if
  :: last == 0 && tail != before -> next[before] = 0; used[tail] = false
  :: else
  fi
}

proctype Writer() {
  byte n, tail, before, last, fresh, hole, check, word;

  do
  :: n < CHANGES ->
    n++;
    if
    :: Insert(0)
    :: FindTail(0);
      /* Any slot of the chain that is not A's. */
      if
      :: hole = 0
      :: hole = 1
      :: next[0] != 0 -> hole = next[0] * SLOTS
      :: next[0] != 0 -> hole = next[0] * SLOTS + 1
      :: next[0] != 0 && next[next[0]] != 0 -> hole = next[next[0]] * SLOTS
      :: next[0] != 0 && next[next[0]] != 0 -> hole = next[next[0]] * SLOTS + 1
      fi;
      if
      :: slots[hole] != OTHER -> goto next_change
      :: else
      fi;
      if
      :: hole != tail * SLOTS + last ->
#ifdef HOLE_LAST
        word = AT(tail, last);
        version++;
        AT(tail, last) = FREE;
        slots[hole] = word;
        version++;
#else
        word = AT(tail, last);
        slots[hole] = word;
#ifndef NO_VERSION
        version++;
#endif
        atomic { word = AT(tail, last); AT(tail, last) = FREE }
#ifndef NO_OUT_MERGE
        atomic { if :: word == A_OUT -> slots[hole] = A_OUT :: else fi }
#endif
#endif
      :: else -> slots[hole] = FREE
      fi;
      if
      :: last == 0 && tail != before -> version++ ; GiveTail()
      :: else
      fi
    fi;
next_change:
    skip;
    atomic { hole = 0; word = 0; tail = 0; before = 0; last = 0 }
    CHECK_TOKEN
  :: else -> break
  od
}

/* Fills its chain into the overflow, and empties it again. */
proctype Other() {
  byte n, tail, before, last, fresh;

  do
  :: n < SLOTS + 2 -> n++; Insert(1)
  :: n == SLOTS + 2 ->
    FindTail(1);
    AT(tail, last) = FREE;
    GiveTail();
    break
  od
}

init {
  byte start;
  /* A anywhere in a chain of one to four. */
  atomic {
    AT(0, 0) = OTHER; AT(0, 1) = OTHER;
    if
    :: AT(0, 0) = A
    :: AT(0, 1) = A
    :: next[0] = 2; used[2] = true; AT(2, 0) = A
    :: next[0] = 2; used[2] = true; AT(2, 0) = OTHER; AT(2, 1) = A
    :: next[0] = 2; used[2] = true; AT(2, 0) = A; AT(2, 1) = OTHER
    fi;
    run Reader();
    run Writer();
    run Other()
  }
}
