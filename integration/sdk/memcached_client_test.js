// The npm client `memcached` against a memcache port: memcached_client_test.js PORT
'use strict';
const assert = require('assert');
const Memcached = require('memcached');

const client = new Memcached(`127.0.0.1:${process.argv[2]}`, {timeout: 5000, retries: 0});
const call = (name, ...args) => new Promise((resolve, reject) => {
  client[name](...args, (error, data) => (error ? reject(error) : resolve(data)));
});
const refused = (promise) => promise.then(() => false, () => true);

async function main() {
  assert.strictEqual(await call('set', 'k', 'text', 100), true);
  assert.strictEqual(await call('get', 'k'), 'text');
  // Objects, numbers and buffers travel as flags: they come back as what they were.
  await call('set', 'object', {a: [1, 2, {b: 'c'}]}, 100);
  assert.deepStrictEqual(await call('get', 'object'), {a: [1, 2, {b: 'c'}]});
  await call('set', 'number', 42.5, 100);
  assert.strictEqual(await call('get', 'number'), 42.5);
  const bytes = Buffer.from(Array.from({length: 1000}, (_, i) => i % 256));
  await call('set', 'buffer', bytes, 100);
  assert.ok(bytes.equals(await call('get', 'buffer')));

  assert.ok(await refused(call('add', 'k', 'x', 100)));
  await call('add', 'fresh', 'x', 100);
  await call('replace', 'k', 'new', 100);
  await call('append', 'k', '-end');
  await call('prepend', 'k', 'start-');
  assert.strictEqual(await call('get', 'k'), 'start-new-end');

  const found = await call('gets', 'k');
  assert.strictEqual(await call('cas', 'k', 'swapped', found.cas, 100), true);
  assert.notStrictEqual(await call('cas', 'k', 'late', found.cas, 100).catch(() => false), true);
  assert.strictEqual(await call('get', 'k'), 'swapped');

  await call('set', 'n', '10', 100);
  assert.strictEqual(await call('incr', 'n', 5), 15);
  assert.strictEqual(await call('decr', 'n', 20), 0);
  assert.strictEqual(await call('incr', 'absent', 1), false);

  const many = {};
  for (let i = 0; i < 100; i++) many[`m${i}`] = `v${i}`;
  await Promise.all(Object.entries(many).map(([k, v]) => call('set', k, v, 100)));
  assert.deepStrictEqual(await call('getMulti', Object.keys(many)), many);

  assert.strictEqual(await call('touch', 'k', 100), true);
  assert.strictEqual(await call('del', 'k'), true);
  assert.strictEqual(await call('get', 'k'), undefined);
  const big = 'x'.repeat(900 * 1024);
  await call('set', 'big', big, 100);
  assert.strictEqual(await call('get', 'big'), big);
  await call('set', 'brief', 'x', 2);
  await new Promise((done) => setTimeout(done, 3100));
  assert.strictEqual(await call('get', 'brief'), undefined);
  const [version] = await call('version');
  assert.match(version.version, /^\d+\.\d+/);
  const [stats] = await call('stats');
  assert.ok(stats.cmd_get > 0);
  client.end();
}

main().then(() => console.log('1 passed, 0 failed'), (error) => {
  console.error(error);
  process.exit(1);
});
