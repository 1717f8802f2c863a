// The official Momento SDK, unmodified, against a running momento_local.
//
//   node sdk_test.js [--slow] HOST:PORT
//
// Prints one line a failure and `N passed, N failed`; exits 1 if anything failed. --slow adds the
// test that an idle connection outlives the server's patience for pings (about 35 seconds).
'use strict';

const assert = require('assert');
const {
  CacheClient, CacheDelete, CacheFlush, CacheGet, CacheGetBatch, CacheGetWithHash, CacheIncrement,
  CacheItemGetTtl, CacheItemGetType, CacheKeysExist, CacheSet, CacheSetBatch, CacheSetIfAbsent,
  CacheSetIfAbsentOrEqual, CacheSetIfAbsentOrHashEqual, CacheSetIfAbsentOrHashNotEqual,
  CacheSetIfEqual, CacheSetIfNotEqual, CacheSetIfPresent, CacheSetIfPresentAndHashEqual,
  CacheSetIfPresentAndHashNotEqual, CacheSetIfPresentAndNotEqual, CacheSetWithHash, CacheUpdateTtl,
  CacheIncreaseTtl, CacheDecreaseTtl, Configurations, CreateCache, CredentialProvider,
  DefaultMomentoLoggerFactory, DefaultMomentoLoggerLevel, DeleteCache, ListCaches, MomentoErrorCode,
} = require('@gomomento/sdk');
const {MomentoRPCMethod} = require('@gomomento/sdk/dist/src/config/retry/momento-rpc-method');
const {ExperimentalMomentoLocalTestConfigMiddleware} = require(
  '@gomomento/sdk/dist/src/config/middleware/experimental-momento-local-test-config-middleware');

const DEFAULT_TTL_SEC = 60;
const args = process.argv.slice(2);
const slow = args.includes('--slow');
const [host, port] = (args.find(a => !a.startsWith('--')) || '').split(':');
if (!port) {
  console.error('usage: node sdk_test.js [--slow] HOST:PORT');
  process.exit(64);
}

const logger = new DefaultMomentoLoggerFactory(DefaultMomentoLoggerLevel.ERROR);

function connect(configuration = Configurations.Laptop.v1(logger)) {
  return CacheClient.create({
    configuration,
    credentialProvider: CredentialProvider.forMomentoLocal({hostname: host, port: Number(port)}),
    defaultTtlSeconds: DEFAULT_TTL_SEC,
  });
}

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
const bytes = text => new TextEncoder().encode(text);
let names = 0;
const fresh = () => `key-${process.pid}-${++names}`;

// `response` is one of `kind`; said with what came instead.
function is(response, kind) {
  assert.ok(response instanceof kind, `got ${response.constructor.name}: ${response.toString()}`);
  return response;
}
function failsWith(response, code, text) {
  assert.strictEqual(response.constructor.name, 'Error', response.toString());
  assert.strictEqual(response.errorCode(), code, response.toString());
  if (text) assert.match(response.message(), text);
}
async function valueOf(client, cache, key) {
  const got = await client.get(cache, key);
  return got instanceof CacheGet.Hit ? got.valueString() : is(got, CacheGet.Miss) && undefined;
}

const tests = {
  async 'create, list and delete caches'(client, cache) {
    const name = `${cache}-another`;
    is(await client.createCache(name), CreateCache.Success);
    is(await client.createCache(name), CreateCache.AlreadyExists);
    const listed = is(await client.listCaches(), ListCaches.Success).getCaches();
    const info = listed.find(c => c.getName() === name);
    assert.ok(info);
    assert.strictEqual(info.getCacheLimits().maxItemSizeKb, 4883);
    assert.strictEqual(info.getCacheLimits().maxTtlSeconds, 86400);
    is(await client.deleteCache(name), DeleteCache.Success);
    failsWith(await client.deleteCache(name), 'NOT_FOUND_ERROR');
    const after = is(await client.listCaches(), ListCaches.Success).getCaches();
    assert.ok(!after.some(c => c.getName() === name));
  },

  async 'set, get and delete'(client, cache) {
    const key = fresh();
    assert.strictEqual(await valueOf(client, cache, key), undefined);
    is(await client.set(cache, key, 'value'), CacheSet.Success);
    assert.strictEqual(await valueOf(client, cache, key), 'value');
    is(await client.set(cache, key, ''), CacheSet.Success);
    assert.strictEqual(await valueOf(client, cache, key), '');
    is(await client.delete(cache, key), CacheDelete.Success);
    is(await client.delete(cache, key), CacheDelete.Success);
    assert.strictEqual(await valueOf(client, cache, key), undefined);
  },

  async 'binary keys and values'(client, cache) {
    const all = Uint8Array.from({length: 256}, (_, i) => i);
    is(await client.set(cache, all, all), CacheSet.Success);
    assert.deepStrictEqual([...is(await client.get(cache, all), CacheGet.Hit).valueUint8Array()], [...all]);
    is(await client.get(cache, all.slice(0, 255)), CacheGet.Miss);
  },

  async 'long keys'(client, cache) {
    for (const length of [250, 254, 255, 256, 10000]) {
      const key = `${'k'.repeat(length - 1)}1`;
      is(await client.set(cache, key, `value ${length}`), CacheSet.Success);
      assert.strictEqual(await valueOf(client, cache, key), `value ${length}`);
      assert.strictEqual(await valueOf(client, cache, `${'k'.repeat(length - 1)}2`), undefined);
    }
  },

  async 'items expire'(client, cache) {
    const key = fresh();
    is(await client.set(cache, key, 'v', {ttl: 1}), CacheSet.Success);
    assert.strictEqual(await valueOf(client, cache, key), 'v');
    await sleep(1500);
    assert.strictEqual(await valueOf(client, cache, key), undefined);
    is(await client.itemGetTtl(cache, key), CacheItemGetTtl.Miss);
  },

  async 'setIf: every condition in every state'(client, cache) {
    // Outcomes when absent, present and equal, present and different.
    const rows = [
      ['setIfPresent', CacheSetIfPresent, false, [0, 1, 1]],
      ['setIfAbsent', CacheSetIfAbsent, false, [1, 0, 0]],
      ['setIfEqual', CacheSetIfEqual, true, [0, 1, 0]],
      ['setIfNotEqual', CacheSetIfNotEqual, true, [1, 0, 1]],
      ['setIfPresentAndNotEqual', CacheSetIfPresentAndNotEqual, true, [0, 0, 1]],
      ['setIfAbsentOrEqual', CacheSetIfAbsentOrEqual, true, [1, 1, 0]],
    ];
    for (const [method, answer, compares, expected] of rows) {
      for (const [state, held] of [undefined, 'same', 'different'].entries()) {
        const key = fresh();
        if (held) is(await client.set(cache, key, held), CacheSet.Success);
        const response = compares
          ? await client[method](cache, key, 'new', 'same')
          : await client[method](cache, key, 'new');
        is(response, expected[state] ? answer.Stored : answer.NotStored);
        assert.strictEqual(await valueOf(client, cache, key), expected[state] ? 'new' : held, `${method} ${held}`);
      }
    }
  },

  async 'hashes: set, get and every condition'(client, cache) {
    const stored = is(await client.setWithHash(cache, fresh(), 'same'), CacheSetWithHash.Stored);
    const hash = stored.hashUint8Array();
    assert.ok(hash.length > 0);
    const rows = [
      ['setIfPresentAndHashEqual', CacheSetIfPresentAndHashEqual, [0, 1, 0]],
      ['setIfPresentAndHashNotEqual', CacheSetIfPresentAndHashNotEqual, [0, 0, 1]],
      ['setIfAbsentOrHashEqual', CacheSetIfAbsentOrHashEqual, [1, 1, 0]],
      ['setIfAbsentOrHashNotEqual', CacheSetIfAbsentOrHashNotEqual, [1, 0, 1]],
    ];
    for (const [method, answer, expected] of rows) {
      for (const [state, held] of [undefined, 'same', 'different'].entries()) {
        const key = fresh();
        if (held) is(await client.setWithHash(cache, key, held), CacheSetWithHash.Stored);
        const response = await client[method](cache, key, 'new', hash);
        is(response, expected[state] ? answer.Stored : answer.NotStored);
        const now = await client.getWithHash(cache, key);
        if (!expected[state] && !held) {
          is(now, CacheGetWithHash.Miss);
        } else {
          assert.strictEqual(is(now, CacheGetWithHash.Hit).valueString(), expected[state] ? 'new' : held);
          if (expected[state]) assert.deepStrictEqual(now.hashUint8Array(), response.hashUint8Array());
        }
      }
    }
  },

  async 'getBatch and setBatch keep their order'(client, cache) {
    const items = new Map();
    for (let i = 0; i < 50; ++i) items.set(fresh(), `value ${i}`);
    is(await client.setBatch(cache, items), CacheSetBatch.Success);
    const keys = [...items.keys()];
    keys.splice(10, 0, fresh());
    const got = is(await client.getBatch(cache, keys), CacheGetBatch.Success);
    assert.deepStrictEqual(got.values(), Object.fromEntries(items));
    const results = got.results();
    assert.strictEqual(results.length, keys.length);
    is(results[10], CacheGet.Miss);
    keys.forEach((key, i) => i === 10 || assert.strictEqual(results[i].valueString(), items.get(key)));
  },

  async 'increment'(client, cache) {
    const key = fresh();
    assert.strictEqual(is(await client.increment(cache, key, 5), CacheIncrement.Success).valueNumber(), 5);
    assert.strictEqual(is(await client.increment(cache, key, -15), CacheIncrement.Success).valueNumber(), -10);
    assert.strictEqual(await valueOf(client, cache, key), '-10');
    is(await client.set(cache, key, '10'), CacheSet.Success);
    assert.strictEqual(is(await client.increment(cache, key), CacheIncrement.Success).valueNumber(), 11);
    is(await client.set(cache, key, 'text'), CacheSet.Success);
    failsWith(await client.increment(cache, key), 'FAILED_PRECONDITION_ERROR');
    // Every increment sets the TTL anew.
    is(await client.set(cache, key, '1', {ttl: 1000}), CacheSet.Success);
    is(await client.increment(cache, key, 1, {ttl: 1}), CacheIncrement.Success);
    await sleep(1500);
    assert.strictEqual(await valueOf(client, cache, key), undefined);
  },

  async 'updateTtl, increaseTtl, decreaseTtl and itemGetTtl'(client, cache) {
    const key = fresh();
    const left = async () => is(await client.itemGetTtl(cache, key), CacheItemGetTtl.Hit).remainingTtlMillis();
    const near = async ms => {
      const now = await left();
      assert.ok(now <= ms && now > ms - 5000, `${now} is not just below ${ms}`);
    };
    is(await client.updateTtl(cache, key, 10000), CacheUpdateTtl.Miss);
    is(await client.increaseTtl(cache, key, 10000), CacheIncreaseTtl.Miss);
    is(await client.decreaseTtl(cache, key, 10000), CacheDecreaseTtl.Miss);
    is(await client.set(cache, key, 'v'), CacheSet.Success);
    await near(DEFAULT_TTL_SEC * 1000);
    is(await client.updateTtl(cache, key, 20000), CacheUpdateTtl.Set);
    await near(20000);
    is(await client.increaseTtl(cache, key, 10000), CacheIncreaseTtl.NotSet);
    is(await client.increaseTtl(cache, key, 40000), CacheIncreaseTtl.Set);
    await near(40000);
    is(await client.decreaseTtl(cache, key, 50000), CacheDecreaseTtl.NotSet);
    is(await client.decreaseTtl(cache, key, 10000), CacheDecreaseTtl.Set);
    await near(10000);
  },

  async 'keysExist and itemGetType'(client, cache) {
    const key = fresh();
    is(await client.set(cache, key, 'v'), CacheSet.Success);
    const exist = is(await client.keysExist(cache, [key, 'no-such-key', key]), CacheKeysExist.Success);
    assert.deepStrictEqual(exist.exists(), [true, false, true]);
    assert.deepStrictEqual(is(await client.keysExist(cache, []), CacheKeysExist.Success).exists(), []);
    const type = is(await client.itemGetType(cache, key), CacheItemGetType.Hit);
    assert.strictEqual(type.itemType(), 0);
    is(await client.itemGetType(cache, 'no-such-key'), CacheItemGetType.Miss);
  },

  async 'flush'(client, cache) {
    const name = `${cache}-flushed`;
    is(await client.createCache(name), CreateCache.Success);
    is(await client.flushCache(name), CacheFlush.Success);
    is(await client.set(name, 'k', 'v'), CacheSet.Success);
    is(await client.flushCache(name), CacheFlush.Success);
    assert.strictEqual(await valueOf(client, name, 'k'), undefined);
    is(await client.deleteCache(name), DeleteCache.Success);
    failsWith(await client.flushCache(name), 'NOT_FOUND_ERROR');
  },

  async 'an unknown cache is CacheNotFound for every call'(client) {
    const none = 'no-such-cache';
    for (const response of [
      await client.get(none, 'k'), await client.set(none, 'k', 'v'), await client.delete(none, 'k'),
      await client.getBatch(none, ['k']), await client.setBatch(none, new Map([['k', 'v']])),
      await client.keysExist(none, ['k']), await client.itemGetTtl(none, 'k'),
      await client.itemGetType(none, 'k'), await client.updateTtl(none, 'k', 1000),
      await client.increment(none, 'k'), await client.setIfAbsent(none, 'k', 'v'),
      await client.getWithHash(none, 'k'), await client.setWithHash(none, 'k', 'v'),
    ]) {
      failsWith(response, 'NOT_FOUND_ERROR');
    }
  },

  async 'five megabytes fit, more is the request size limit'(client, cache) {
    const key = fresh();
    const large = 'x'.repeat(5000000);
    is(await client.set(cache, key, large), CacheSet.Success);
    assert.ok((await valueOf(client, cache, key)) === large);
    failsWith(await client.set(cache, key, 'x'.repeat(5300000)), 'LIMIT_EXCEEDED_ERROR', /Request size limit exceeded/);
  },

  async 'a TTL over the maximum is an invalid argument'(client, cache) {
    failsWith(await client.set(cache, fresh(), 'v', {ttl: 86401}), 'INVALID_ARGUMENT_ERROR');
  },

  async 'collections are unimplemented for now'(client, cache) {
    failsWith(await client.dictionaryGetField(cache, 'd', 'f'), 'BAD_REQUEST_ERROR');
  },

  async 'many calls at once'(client, cache) {
    const prefix = fresh();
    const numbers = Array.from({length: 1000}, (_, i) => i);
    for (const response of await Promise.all(numbers.map(i => client.set(cache, `${prefix}-${i}`, `${i}`)))) {
      is(response, CacheSet.Success);
    }
    const values = await Promise.all(numbers.map(i => valueOf(client, cache, `${prefix}-${i}`)));
    assert.deepStrictEqual(values, numbers.map(String));
    await Promise.all(numbers.map(() => client.increment(cache, `${prefix}-sum`, 3)));
    assert.strictEqual(await valueOf(client, cache, `${prefix}-sum`), '3000');
  },

  async 'injected errors are retried as the SDK retries them'(client, cache) {
    const injecting = async metadata => connect(Configurations.Laptop.v1(logger).withMiddlewares([
      new ExperimentalMomentoLocalTestConfigMiddleware({logger: logger.getLogger('test'), requestId: fresh(), ...metadata}),
    ]));
    is(await client.set(cache, 'injected', 'v'), CacheSet.Success);
    const twice = await injecting({returnError: MomentoErrorCode.SERVER_UNAVAILABLE, errorRpcs: [MomentoRPCMethod.Get], errorCount: 2});
    assert.strictEqual(await valueOf(twice, cache, 'injected'), 'v');
    twice.close();
    const always = await injecting({returnError: MomentoErrorCode.SERVER_UNAVAILABLE, errorRpcs: [MomentoRPCMethod.Get]});
    failsWith(await always.get(cache, 'injected'), 'SERVER_UNAVAILABLE');
    is(await always.set(cache, 'injected', 'w'), CacheSet.Success);
    always.close();
    const delayed = await injecting({delayRpcs: [MomentoRPCMethod.Get], delayMs: 300, delayCount: 1});
    const start = Date.now();
    assert.strictEqual(await valueOf(delayed, cache, 'injected'), 'w');
    assert.ok(Date.now() - start >= 295, `${Date.now() - start} ms`);
    delayed.close();
  },
};

if (slow) {
  // gRPC servers that do not expect the SDK's pings close idle connections after about 25 seconds,
  // which the SDK reports on the console.
  tests['an idle connection is kept'] = async (client, cache) => {
    const complaints = [];
    const kept = console.error;
    console.error = (...words) => complaints.push(words.join(' '));
    try {
      is(await client.set(cache, 'idle', 'v'), CacheSet.Success);
      await sleep(35000);
      assert.strictEqual(await valueOf(client, cache, 'idle'), 'v');
    } finally {
      console.error = kept;
    }
    assert.ok(!complaints.some(line => /excess pings|too_many_pings/i.test(line)), complaints.join('\n'));
  };
}

async function main() {
  const client = await connect();
  const cache = `sdk-test-${process.pid}-${Date.now()}`;
  is(await client.createCache(cache), CreateCache.Success);
  let passed = 0;
  let failed = 0;
  for (const [name, run] of Object.entries(tests)) {
    try {
      await run(client, cache);
      ++passed;
    } catch (error) {
      ++failed;
      console.log(`FAILED ${name}: ${error.message}\n${error.stack.split('\n').slice(1, 4).join('\n')}`);
    }
  }
  is(await client.deleteCache(cache), DeleteCache.Success);
  client.close();
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

main().catch(error => {
  console.log(`FAILED to run: ${error.stack}`);
  process.exitCode = 1;
});
