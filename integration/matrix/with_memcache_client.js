// npm's memcache-client: with_memcache_client.js PORT
'use strict';
const zlib = require('zlib');
const {MemcacheClient} = require('memcache-client');
const {run, equal, refused, large, text} = require('./npm_report');

const client = new MemcacheClient({server: `127.0.0.1:${process.argv[2]}`, cmdTimeout: 10000,
  ignoreNotStored: false,
  compressor: {compressSync: ({input}) => zlib.gzipSync(input),
    decompressSync: ({input}) => zlib.gunzipSync(input)}});
const p = 'memcache-client:';
const set = (key, value, options) => client.set(p + key, value, {lifetime: 100, ...options});
const get = async (key) => {
  const found = await client.get(p + key);
  return found === undefined ? null : found.value;
};
const done = (promise) => refused(promise.then(() => true));

run({
  expiry: async () => {
    await set('brief', 'x', {lifetime: 2});
    equal(await get('brief'), 'x');
    return async () => equal(await get('brief'), null);
  },
  set_get: async () => {
    equal(await set('k', 'value'), ['STORED']);
    equal([await get('k'), await get('absent')], ['value', null]);
  },
  multi: async () => {
    const names = Array.from({length: 100}, (_, i) => `${p}m${i}`);
    await Promise.all(names.map((key, i) => client.set(key, `v${i}`, {lifetime: 100})));
    const found = await client.get([...names, `${p}absent`]);
    equal(names.map((key) => found[key].value), names.map((_, i) => `v${i}`));
    equal(Object.keys(found).length, 100);
  },
  add: async () => {
    await done(client.delete(p + 'a'));
    equal(await done(client.add(p + 'a', '1')), true);
    equal([await done(client.add(p + 'a', '2')), await get('a')], [false, '1']);
  },
  replace: async () => {
    await set('r', '1');
    equal(await done(client.replace(p + 'r', '2')), true);
    equal([await done(client.replace(p + 'none', '2')), await get('r')], [false, '2']);
  },
  cas: async () => {
    await set('c', '1');
    const {casUniq} = await client.gets(p + 'c');
    equal(await done(client.cas(p + 'c', '2', {casUniq, lifetime: 100})), true);
    equal([await done(client.cas(p + 'c', '3', {casUniq, lifetime: 100})), await get('c')], [false, '2']);
  },
  incr: async () => {
    await set('n', '10');
    equal([await client.incr(p + 'n', 5), await done(client.incr(p + 'absent', 1))], ['15', false]);
  },
  decr: async () => {
    await set('d', '10');
    equal([await client.decr(p + 'd', 3), await client.decr(p + 'd', 20)], ['7', '0']);
  },
  append: async () => {
    await set('ap', 'a');
    equal([await done(client.append(p + 'ap', 'b')), await get('ap')], [true, 'ab']);
    equal(await done(client.append(p + 'absent', 'b')), false);
  },
  prepend: async () => {
    await set('pr', 'a');
    equal([await done(client.prepend(p + 'pr', 'b')), await get('pr')], [true, 'ba']);
  },
  touch: async () => {
    await set('t', '1');
    equal([await done(client.touch(p + 't', 100)), await done(client.touch(p + 'absent', 100))],
      [true, false]);
  },
  delete: async () => {
    await set('x', '1');
    equal([await done(client.delete(p + 'x')), await done(client.delete(p + 'x')), await get('x')],
      [true, false, null]);
  },
  flags: async () => {
    const bytes = Buffer.from(Array.from({length: 1000}, (_, i) => i % 256));
    for (const thing of ['text', 42.5, {a: [1, 2, {b: 'c'}]}, bytes]) {
      await set('typed', thing);
      equal(await get('typed'), thing);
    }
  },
  compressed: async () => {
    await set('packed', text, {compress: true});
    equal(await get('packed'), text);
  },
  large: async () => {
    await set('large', large);
    equal(await get('large'), large);
  },
  utf8_keys: async () => {
    await set('schlüssel-鍵', '1');
    equal(await get('schlüssel-鍵'), '1');
  },
  noreply: async () => {
    for (let i = 0; i < 100; i++) await set(`q${i % 10}`, `${i}`, {noreply: true});
    equal(await get('q9'), '99');
  },
  pipeline: async () => {
    await set('burst', '0');
    await Promise.all(Array.from({length: 300}, () => client.incr(p + 'burst', 1)));
    equal(await get('burst'), '300');
  },
});
