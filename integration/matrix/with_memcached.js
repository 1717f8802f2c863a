// npm's memcached: with_memcached.js PORT
'use strict';
const zlib = require('zlib');
const Memcached = require('memcached');
const {run, equal, refused, large, text} = require('./npm_report');

const client = new Memcached(`127.0.0.1:${process.argv[2]}`, {timeout: 10000, retries: 0, poolSize: 2});
const p = 'npm-memcached:';
const call = (name, key, ...args) => new Promise((resolve, reject) => {
  const keys = Array.isArray(key) ? key.map((k) => p + k) : p + key;
  client[name](keys, ...args, (error, data) => (error ? reject(error) : resolve(data)));
});

run({
  expiry: async () => {
    equal(await call('set', 'brief', 'x', 2), true);
    equal(await call('get', 'brief'), 'x');
    return async () => equal(await call('get', 'brief'), undefined);
  },
  set_get: async () => {
    equal(await call('set', 'k', 'value', 100), true);
    equal([await call('get', 'k'), await call('get', 'absent')], ['value', undefined]);
  },
  multi: async () => {
    const many = {};
    for (let i = 0; i < 100; i++) many[`${p}m${i}`] = `v${i}`;
    await Promise.all(Object.keys(many).map((k, i) => call('set', `m${i}`, many[k], 100)));
    equal(await call('getMulti', Array.from({length: 120}, (_, i) => `m${i}`)), many);
  },
  add: async () => {
    await call('del', 'a');
    equal(await call('add', 'a', '1', 100), true);
    equal([await refused(call('add', 'a', '2', 100)), await call('get', 'a')], [false, '1']);
  },
  replace: async () => {
    await call('set', 'r', '1', 100);
    equal(await call('replace', 'r', '2', 100), true);
    equal([await refused(call('replace', 'none', '2', 100)), await call('get', 'r')], [false, '2']);
  },
  cas: async () => {
    await call('set', 'c', '1', 100);
    const found = await call('gets', 'c');
    equal(await call('cas', 'c', '2', found.cas, 100), true);
    equal([await refused(call('cas', 'c', '3', found.cas, 100)), await call('get', 'c')], [false, '2']);
  },
  incr: async () => {
    await call('set', 'n', '10', 100);
    equal([await call('incr', 'n', 5), await call('incr', 'absent', 1)], [15, false]);
  },
  decr: async () => {
    await call('set', 'd', '10', 100);
    equal([await call('decr', 'd', 3), await call('decr', 'd', 20)], [7, 0]);
  },
  append: async () => {
    await call('set', 'ap', 'a', 100);
    equal([await call('append', 'ap', 'b'), await call('get', 'ap')], [true, 'ab']);
    equal(await refused(call('append', 'absent', 'b')), false);
  },
  prepend: async () => {
    await call('set', 'pr', 'a', 100);
    equal([await call('prepend', 'pr', 'b'), await call('get', 'pr')], [true, 'ba']);
  },
  touch: async () => {
    await call('set', 't', '1', 100);
    equal([await call('touch', 't', 100), await refused(call('touch', 'absent', 100))], [true, false]);
  },
  delete: async () => {
    await call('set', 'x', '1', 100);
    equal([await call('del', 'x'), await call('get', 'x')], [true, undefined]);
  },
  flags: async () => {
    const bytes = Buffer.from(Array.from({length: 1000}, (_, i) => i % 256));
    for (const thing of ['text', 42.5, {a: [1, 2, {b: 'c'}]}, bytes]) {
      await call('set', 'typed', thing, 100);
      equal(await call('get', 'typed'), thing);
    }
  },
  compressed: async () => {
    await call('set', 'packed', zlib.gzipSync(text), 100);
    equal(String(zlib.gunzipSync(await call('get', 'packed'))), text);
  },
  large: async () => {
    const string = large.toString('latin1').replace(/[^ -~]/g, 'x');
    await call('set', 'large', string, 100);  // A buffer would be sent in base64, past the limit.
    equal(await call('get', 'large'), string);
  },
  utf8_keys: async () => {
    await call('set', 'schlüssel-鍵', '1', 100);
    equal(await call('get', 'schlüssel-鍵'), '1');
  },
  noreply: null,
  pipeline: async () => {
    await call('set', 'burst', '0', 100);
    await Promise.all(Array.from({length: 300}, () => call('incr', 'burst', 1)));
    equal(await call('incr', 'burst', 1), 301);
  },
});
