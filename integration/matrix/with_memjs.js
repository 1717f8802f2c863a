// npm's memjs, which speaks the binary protocol: with_memjs.js PORT [USER PASSWORD]
'use strict';
const zlib = require('zlib');
const memjs = require('memjs');
const {run, equal, refused, large, text} = require('./npm_report');

const [port, username, password] = process.argv.slice(2);
const quiet = {log() {}, error() {}};
const client = memjs.Client.create(`127.0.0.1:${port}`,
  {username, password, timeout: 5, conntimeout: 5, retries: 0, logger: quiet});
const p = `memjs${username ? '-sasl' : ''}:`;
const set = (key, value, expires = 100) => client.set(p + key, value, {expires});
const get = async (key) => {
  const {value} = await client.get(p + key);
  return value === null ? null : String(value);
};
const number = async (promise) => (await promise).value;

run({
  expiry: async () => {
    equal(await set('brief', 'x', 2), true);
    equal(await get('brief'), 'x');
    return async () => equal(await get('brief'), null);
  },
  set_get: async () => {
    equal(await set('k', 'value'), true);
    equal([await get('k'), await get('absent')], ['value', null]);
  },
  multi: null,
  add: async () => {
    await client.delete(p + 'a');
    equal(await client.add(p + 'a', '1', {expires: 100}), true);
    equal([await client.add(p + 'a', '2', {expires: 100}), await get('a')], [false, '1']);
  },
  replace: async () => {
    await set('r', '1');
    equal(await client.replace(p + 'r', '2', {expires: 100}), true);
    equal([await client.replace(p + 'none', '2', {expires: 100}), await get('r')], [false, '2']);
  },
  cas: null,
  incr: async () => {
    await client.delete(p + 'n');
    equal(await number(client.increment(p + 'n', 5, {initial: 10, expires: 100})), 10);
    equal(await number(client.increment(p + 'n', 5, {initial: 10, expires: 100})), 15);
    equal(await get('n'), '15');
  },
  decr: async () => {
    await set('d', '10');
    equal(await number(client.decrement(p + 'd', 3, {expires: 100})), 7);
    equal(await number(client.decrement(p + 'd', 20, {expires: 100})), 0);
  },
  append: async () => {
    await set('ap', 'a');
    equal([await client.append(p + 'ap', 'b'), await get('ap')], [true, 'ab']);
    equal(await refused(client.append(p + 'absent', 'b')), false);
  },
  prepend: async () => {
    await set('pr', 'a');
    equal([await client.prepend(p + 'pr', 'b'), await get('pr')], [true, 'ba']);
  },
  touch: async () => {
    await set('t', '1');
    equal([await client.touch(p + 't', 100), await client.touch(p + 'absent', 100)], [true, false]);
  },
  delete: async () => {
    await set('x', '1');
    equal([await client.delete(p + 'x'), await client.delete(p + 'x'), await get('x')],
      [true, false, null]);
  },
  flags: async () => {
    // memjs stores strings and buffers; flags come back with a get.
    await set('typed', JSON.stringify({a: [1, 2, {b: 'c'}]}));
    const {value, flags} = await client.get(p + 'typed');
    equal(JSON.parse(value), {a: [1, 2, {b: 'c'}]});
    equal(Number(flags.readUInt32BE ? flags.readUInt32BE(0) : flags), 0);
  },
  compressed: async () => {
    await set('packed', zlib.gzipSync(text));
    equal(String(zlib.gunzipSync((await client.get(p + 'packed')).value)), text);
  },
  large: async () => {
    await set('large', large);
    equal((await client.get(p + 'large')).value, large);
  },
  utf8_keys: async () => {
    await set('schlüssel-鍵', '1');
    equal(await get('schlüssel-鍵'), '1');
  },
  noreply: null,
  pipeline: async () => {
    await set('burst', '0');
    await Promise.all(Array.from({length: 300}, () => client.increment(p + 'burst', 1, {expires: 100})));
    equal(await get('burst'), '300');
  },
});
