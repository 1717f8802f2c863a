// The SDK and a memcache client on one cache: interop_test.js HOST:PORT CACHE MEMCACHE_PORT
// What either writes the other reads, byte for byte, when memcache flags are 0.
'use strict';
const assert = require('assert');
const net = require('net');
const {CacheGet} = require('@gomomento/sdk');
const {connect} = require('./connect');

const [target, cache, port] = process.argv.slice(2);
const socket = net.connect(Number(port), '127.0.0.1');

// Says `request`, hears until `end`.
const ask = (request, end) => new Promise((resolve, reject) => {
  let heard = Buffer.alloc(0);
  const timer = setTimeout(() => reject(new Error(`no reply to ${request}`)), 5000);
  const listen = (data) => {
    heard = Buffer.concat([heard, data]);
    if (!heard.subarray(-end.length).equals(Buffer.from(end))) return;
    clearTimeout(timer);
    socket.off('data', listen);
    resolve(heard);
  };
  socket.on('data', listen);
  socket.write(request);
});

async function main() {
  const client = await connect(target);
  const bytes = Buffer.from(Array.from({length: 512}, (_, i) => (i * 7) % 256));

  await client.set(cache, 'from-sdk', bytes);
  const seen = await ask('get from-sdk\r\n', 'END\r\n');
  assert.ok(seen.equals(Buffer.concat(
    [Buffer.from('VALUE from-sdk 0 512\r\n'), bytes, Buffer.from('\r\nEND\r\n')])));

  const stored = await ask(Buffer.concat(
    [Buffer.from('set from-proxy 0 60 512\r\n'), bytes, Buffer.from('\r\n')]), '\r\n');
  assert.strictEqual(stored.toString(), 'STORED\r\n');
  const got = await client.get(cache, 'from-proxy');
  assert.ok(got instanceof CacheGet.Hit, got.toString());
  assert.ok(Buffer.from(got.valueUint8Array()).equals(bytes));

  // A counter of the SDK's is a number to memcache, and the other way round.
  await client.increment(cache, 'counter', 41);
  assert.strictEqual((await ask('incr counter 1\r\n', '\r\n')).toString(), '42\r\n');
  const after = await client.increment(cache, 'counter', 1);
  assert.strictEqual(after.valueNumber(), 43);

  await client.delete(cache, 'from-proxy');
  assert.strictEqual((await ask('get from-proxy\r\n', 'END\r\n')).toString(), 'END\r\n');
  socket.end();
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
