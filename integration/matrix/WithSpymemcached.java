// spymemcached: java WithSpymemcached.java PORT text|binary [USER PASSWORD]
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.logging.Level;
import java.util.logging.Logger;
import net.spy.memcached.CASResponse;
import net.spy.memcached.CASValue;
import net.spy.memcached.ConnectionFactoryBuilder;
import net.spy.memcached.MemcachedClient;
import net.spy.memcached.auth.AuthDescriptor;
import net.spy.memcached.auth.PlainCallbackHandler;

public class WithSpymemcached {
  static final long EXPIRY_MS = 3100;  // After this an exptime of two seconds has passed everywhere.
  static final int TTL = 100;
  static MemcachedClient c;
  static String p;

  interface Check {
    void run() throws Exception;
  }

  static void check(String name, Check check) {
    try {
      check.run();
      System.out.println("ok " + name);
    } catch (Throwable e) {
      System.out.println(("no " + name + ": " + e).replace('\n', ' '));
    }
  }

  static void equal(Object got, Object wanted) {
    if (!Objects.deepEquals(got, wanted)) {
      throw new IllegalStateException("got " + shown(got) + ", wanted " + shown(wanted));
    }
  }

  static String shown(Object thing) {
    String text = String.valueOf(thing);
    return text.length() > 80 ? text.substring(0, 80) + "..." : text;
  }

  static <T> T now(Future<T> future) throws Exception {
    return future.get(10, TimeUnit.SECONDS);
  }

  static boolean set(String key, Object value) throws Exception {
    return now(c.set(p + key, TTL, value));
  }

  static void multi() throws Exception {
    Map<String, Object> many = new HashMap<>();
    List<Future<Boolean>> stores = new ArrayList<>();
    for (int i = 0; i < 200; ++i) {
      many.put(p + "m" + i, i);
      stores.add(c.set(p + "m" + i, TTL, i));
    }
    for (Future<Boolean> store : stores) equal(now(store), true);
    List<String> keys = new ArrayList<>(many.keySet());
    keys.add(p + "absent");
    equal(c.getBulk(keys), many);
  }

  public static void main(String[] args) throws Exception {
    System.setProperty("net.spy.log.LoggerImpl", "net.spy.memcached.compat.log.SunLogger");
    Logger.getLogger("net.spy.memcached").setLevel(Level.OFF);
    ConnectionFactoryBuilder how = new ConnectionFactoryBuilder()
        .setProtocol(args[1].equals("binary") ? ConnectionFactoryBuilder.Protocol.BINARY
                                              : ConnectionFactoryBuilder.Protocol.TEXT)
        .setOpTimeout(10000);
    if (args.length > 2) {
      how.setAuthDescriptor(new AuthDescriptor(new String[] {"PLAIN"},
                                               new PlainCallbackHandler(args[2], args[3])));
    }
    p = "spymemcached-" + args[1] + (args.length > 2 ? "-sasl:" : ":");
    c = new MemcachedClient(
        how.build(), Arrays.asList(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0]))));
    Throwable[] begun = {null};
    try {
      equal(now(c.set(p + "brief", 2, "x")), true);
      equal(c.get(p + "brief"), "x");
    } catch (Throwable e) {
      begun[0] = e;
    }
    long since = System.nanoTime();
    check("set_get", () -> {
      equal(set("k", "value"), true);
      equal(c.get(p + "k"), "value");
      equal(c.get(p + "absent"), null);
    });
    check("multi", WithSpymemcached::multi);
    check("add", () -> {
      now(c.delete(p + "a"));
      equal(now(c.add(p + "a", TTL, "1")), true);
      equal(now(c.add(p + "a", TTL, "2")), false);
      equal(c.get(p + "a"), "1");
    });
    check("replace", () -> {
      set("r", "1");
      equal(now(c.replace(p + "r", TTL, "2")), true);
      equal(now(c.replace(p + "none", TTL, "2")), false);
      equal(c.get(p + "r"), "2");
    });
    check("cas", () -> {
      set("c", "1");
      CASValue<Object> found = c.gets(p + "c");
      equal(found.getValue(), "1");
      equal(c.cas(p + "c", found.getCas(), TTL, "2", c.getTranscoder()), CASResponse.OK);
      equal(c.cas(p + "c", found.getCas(), TTL, "3", c.getTranscoder()), CASResponse.EXISTS);
      equal(c.get(p + "c"), "2");
    });
    check("incr", () -> {
      now(c.delete(p + "n"));
      equal(c.incr(p + "n", 5, 10, TTL), 10L);
      equal(c.incr(p + "n", 5, 10, TTL), 15L);
      equal(c.incr(p + "absent", 1), -1L);
    });
    check("decr", () -> {
      set("d", "10");
      equal(c.decr(p + "d", 3), 7L);
      equal(c.decr(p + "d", 20), 0L);
    });
    check("append", () -> {
      set("ap", "a");
      equal(now(c.append(p + "ap", "b")), true);
      equal(now(c.append(p + "absent", "b")), false);
      equal(c.get(p + "ap"), "ab");
    });
    check("prepend", () -> {
      set("pr", "a");
      equal(now(c.prepend(p + "pr", "b")), true);
      equal(c.get(p + "pr"), "ba");
    });
    check("touch", () -> {
      set("t", "1");
      equal(now(c.touch(p + "t", TTL)), true);
      equal(now(c.touch(p + "absent", TTL)), false);
    });
    check("delete", () -> {
      set("x", "1");
      equal(now(c.delete(p + "x")), true);
      equal(now(c.delete(p + "x")), false);
      equal(c.get(p + "x"), null);
    });
    check("flags", () -> {
      byte[] bytes = new byte[1000];
      new Random().nextBytes(bytes);
      for (Object thing : new Object[] {"text", 42, 1L << 40, true, 1.5, bytes,
                                        new ArrayList<>(Arrays.asList("a", 1, null))}) {
        set("typed", thing);
        equal(c.get(p + "typed"), thing);
      }
    });
    check("compressed", () -> {
      String text = "compressible ".repeat(5000);  // Past its threshold of 16 KB.
      set("packed", text);
      equal(c.get(p + "packed"), text);
    });
    check("large", () -> {
      byte[] large = new byte[900 * 1024];
      new Random().nextBytes(large);
      equal(set("large", large), true);
      equal(c.get(p + "large"), large);
    });
    check("utf8_keys", () -> {
      set("schlüssel-鍵", "1");
      equal(c.get(p + "schlüssel-鍵"), "1");
    });
    System.out.println("no noreply: no such call");
    check("pipeline", () -> {
      set("burst", "0");
      List<Future<Long>> counts = new ArrayList<>();
      for (int i = 0; i < 300; ++i) counts.add(c.asyncIncr(p + "burst", 1));
      for (Future<Long> count : counts) now(count);
      equal(c.get(p + "burst"), "300");
    });
    check("expiry", () -> {
      if (begun[0] != null) throw new IllegalStateException(begun[0]);
      Thread.sleep(Math.max(0, EXPIRY_MS - (System.nanoTime() - since) / 1000000));
      equal(c.get(p + "brief"), null);
    });
    System.exit(0);
  }
}
