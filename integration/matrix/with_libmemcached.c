// libmemcached itself: with_libmemcached PORT text|binary
#include <libmemcached/memcached.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double kExpirySeconds = 3.1;  // After this an exptime of two seconds has passed everywhere.
static const char* prefix;
static char named[256];

static const char* Key(const char* name) {
  snprintf(named, sizeof named, "%s%s", prefix, name);
  return named;
}

static memcached_return_t Set(memcached_st* m, const char* name, const char* value, time_t exptime,
                              uint32_t flags) {
  const char* key = Key(name);
  return memcached_set(m, key, strlen(key), value, strlen(value), exptime, flags);
}

// Whether `name` has this value; with null, whether there is none.
static bool Is(memcached_st* m, const char* name, const char* wanted) {
  const char* key = Key(name);
  size_t size = 0;
  uint32_t flags = 0;
  memcached_return_t rc;
  char* value = memcached_get(m, key, strlen(key), &size, &flags, &rc);
  const bool same = wanted == NULL ? value == NULL && rc == MEMCACHED_NOTFOUND
                                   : value != NULL && size == strlen(wanted) &&
                                         memcmp(value, wanted, size) == 0;
  free(value);
  return same;
}

static void Tell(memcached_st* m, const char* name, bool fine) {
  if (fine) {
    printf("ok %s\n", name);
  } else {
    printf("no %s: %s\n", name, memcached_last_error_message(m) ? memcached_last_error_message(m) : "");
  }
  fflush(stdout);
}

static bool Multi(memcached_st* m) {
  enum { kKeys = 200 };
  static char names[kKeys + 1][64];
  const char* keys[kKeys + 1];
  size_t sizes[kKeys + 1];
  for (int i = 0; i <= kKeys; ++i) {
    snprintf(names[i], sizeof names[i], "%sm%d", prefix, i);
    keys[i] = names[i];
    sizes[i] = strlen(names[i]);
    if (i < kKeys && memcached_set(m, keys[i], sizes[i], keys[i], sizes[i], 100, i)) return false;
  }
  if (memcached_mget(m, keys, sizes, kKeys + 1) != MEMCACHED_SUCCESS) return false;
  int found = 0;
  bool right = true;
  memcached_return_t rc;
  memcached_result_st* one;
  while ((one = memcached_fetch_result(m, NULL, &rc)) != NULL) {
    const uint32_t i = memcached_result_flags(one);
    right = right && i < kKeys && memcached_result_length(one) == sizes[i] &&
            memcmp(memcached_result_value(one), keys[i], sizes[i]) == 0;
    ++found;
    memcached_result_free(one);
  }
  return right && found == kKeys;
}

static bool Cas(memcached_st* m) {
  if (Set(m, "c", "1", 100, 0)) return false;
  const char* key = Key("c");
  size_t size = strlen(key);
  if (memcached_mget(m, &key, &size, 1)) return false;
  memcached_return_t rc;
  memcached_result_st* one = memcached_fetch_result(m, NULL, &rc);
  if (one == NULL) return false;
  const uint64_t token = memcached_result_cas(one);
  memcached_result_free(one);
  while ((one = memcached_fetch_result(m, NULL, &rc)) != NULL) memcached_result_free(one);
  return memcached_cas(m, key, size, "2", 1, 100, 0, token) == MEMCACHED_SUCCESS &&
         memcached_cas(m, key, size, "3", 1, 100, 0, token) == MEMCACHED_DATA_EXISTS && Is(m, "c", "2");
}

static bool Count(memcached_st* m, bool binary) {
  uint64_t number = 0;
  if (Set(m, "n", "10", 100, 0)) return false;
  const char* key = Key("n");
  if (memcached_increment(m, key, strlen(key), 5, &number) || number != 15) return false;
  key = Key("absent");
  if (memcached_increment(m, key, strlen(key), 1, &number) != MEMCACHED_NOTFOUND) return false;
  if (!binary) return true;
  key = Key("fresh");
  memcached_delete(m, key, strlen(key), 0);
  return !memcached_increment_with_initial(m, key, strlen(key), 5, 10, 100, &number) && number == 10 &&
         !memcached_increment_with_initial(m, key, strlen(key), 5, 10, 100, &number) && number == 15;
}

static bool CountDown(memcached_st* m) {
  uint64_t number = 1;
  if (Set(m, "d", "10", 100, 0)) return false;
  const char* key = Key("d");
  return !memcached_decrement(m, key, strlen(key), 3, &number) && number == 7 &&
         !memcached_decrement(m, key, strlen(key), 20, &number) && number == 0;
}

static bool Large(memcached_st* m) {
  enum { kBytes = 900 * 1024 };
  char* bytes = malloc(kBytes + 1);
  for (int i = 0; i < kBytes; ++i) bytes[i] = (char)('a' + rand() % 26);
  bytes[kBytes] = '\0';
  const bool same = !Set(m, "large", bytes, 100, 0) && Is(m, "large", bytes);
  free(bytes);
  return same;
}

// Stores without replies, or gathered in a buffer.
static bool Quietly(memcached_st* like, memcached_behavior_t how) {
  memcached_st* m = memcached_clone(NULL, like);
  memcached_behavior_set(m, how, 1);
  char name[16], value[16];
  for (int i = 0; i < 1000; ++i) {
    snprintf(name, sizeof name, "q%d", i % 250);
    snprintf(value, sizeof value, "%d", i);
    const memcached_return_t rc = Set(m, name, value, 100, 0);
    if (rc != MEMCACHED_SUCCESS && rc != MEMCACHED_BUFFERED) return false;
  }
  const bool same = Is(m, "q249", "999");
  memcached_free(m);
  return same;
}

static bool Flags(memcached_st* m) {
  if (Set(m, "f", "x", 100, 0xdeadbeef)) return false;
  const char* key = Key("f");
  size_t size = 0;
  uint32_t flags = 0;
  memcached_return_t rc;
  free(memcached_get(m, key, strlen(key), &size, &flags, &rc));
  return flags == 0xdeadbeef;
}

static double Now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  const bool binary = strcmp(argv[2], "binary") == 0;
  prefix = binary ? "libmemcached-binary:" : "libmemcached-text:";
  memcached_st* m = memcached_create(NULL);
  memcached_behavior_set(m, MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, binary);
  memcached_behavior_set(m, MEMCACHED_BEHAVIOR_SUPPORT_CAS, 1);
  memcached_server_add(m, "127.0.0.1", (in_port_t)atoi(argv[1]));

  const bool begun = !Set(m, "brief", "x", 2, 0) && Is(m, "brief", "x");
  const double since = Now();
  Tell(m, "set_get", !Set(m, "k", "value", 100, 0) && Is(m, "k", "value") && Is(m, "absent", NULL));
  Tell(m, "multi", Multi(m));
  const char* key = Key("a");
  memcached_delete(m, key, strlen(key), 0);
  Tell(m, "add", !memcached_add(m, key, strlen(key), "1", 1, 100, 0) &&
                     memcached_add(m, key, strlen(key), "2", 1, 100, 0) != MEMCACHED_SUCCESS &&
                     Is(m, "a", "1"));
  bool fine = !Set(m, "r", "1", 100, 0);
  key = Key("r");
  fine = fine && !memcached_replace(m, key, strlen(key), "2", 1, 100, 0) && Is(m, "r", "2");
  key = Key("absent");
  Tell(m, "replace", fine && memcached_replace(m, key, strlen(key), "2", 1, 100, 0) != MEMCACHED_SUCCESS);
  Tell(m, "cas", Cas(m));
  Tell(m, "incr", Count(m, binary));
  Tell(m, "decr", CountDown(m));
  fine = !Set(m, "ap", "a", 100, 0);
  key = Key("ap");
  Tell(m, "append", fine && !memcached_append(m, key, strlen(key), "b", 1, 0, 0) && Is(m, "ap", "ab"));
  fine = !Set(m, "pr", "a", 100, 0);
  key = Key("pr");
  Tell(m, "prepend", fine && !memcached_prepend(m, key, strlen(key), "b", 1, 0, 0) && Is(m, "pr", "ba"));
  fine = !Set(m, "t", "1", 100, 0);
  key = Key("t");
  fine = fine && !memcached_touch(m, key, strlen(key), 100);
  key = Key("absent");
  Tell(m, "touch", fine && memcached_touch(m, key, strlen(key), 100) == MEMCACHED_NOTFOUND);
  fine = !Set(m, "x", "1", 100, 0);
  key = Key("x");
  Tell(m, "delete", fine && !memcached_delete(m, key, strlen(key), 0) &&
                        memcached_delete(m, key, strlen(key), 0) == MEMCACHED_NOTFOUND && Is(m, "x", NULL));
  Tell(m, "flags", Flags(m));
  printf("no compressed: no such call\n");
  Tell(m, "large", Large(m));
  Tell(m, "utf8_keys", !Set(m, "schl\xc3\xbcssel", "1", 100, 0) && Is(m, "schl\xc3\xbcssel", "1"));
  Tell(m, "noreply", Quietly(m, MEMCACHED_BEHAVIOR_NOREPLY));
  Tell(m, "pipeline", Quietly(m, MEMCACHED_BEHAVIOR_BUFFER_REQUESTS));
  const double left = since + kExpirySeconds - Now();
  if (left > 0) usleep((useconds_t)(left * 1e6));
  Tell(m, "expiry", begun && Is(m, "brief", NULL));
  memcached_free(m);
  return 0;
}
