// A cache's client as applications are: application.js memcached|sdk HOST:PORT CACHE IN_FLIGHT OPERATIONS
//
// Asks for one of a thousand keys and stores one of ten, with so many operations in flight, and prints
// JSON: rate, latency and its own CPU time. The first tenth warms up and is not counted.
'use strict';
const KEYS = 1000;
const VALUE = 'v'.repeat(100);
const [how, target, cache, inFlightText, operationsText] = process.argv.slice(2);
const inFlight = Number(inFlightText);
const operations = Number(operationsText);

async function throughMemcached() {
  const Memcached = require('../matrix/node_modules/memcached');
  const client = new Memcached(target, {
    timeout: 10000, retries: 0,
    poolSize: Math.max(10, inFlight),  // It has one command in flight on each.
  });
  const call = (name, ...args) => new Promise((resolve, reject) => {
    client[name](...args, (error, data) => (error ? reject(error) : resolve(data)));
  });
  return {
    set: (key) => call('set', key, VALUE, 600),
    get: async (key) => (await call('get', key)) === VALUE,
  };
}

async function throughSdk() {
  const {CacheGet, CacheSet} = require('@gomomento/sdk');
  const client = await require('./connect').connect(target);
  return {
    set: async (key) => {
      const answer = await client.set(cache, key, VALUE, {ttl: 600});
      if (answer instanceof CacheSet.Error) throw answer;
    },
    get: async (key) => {
      const answer = await client.get(cache, key);
      if (answer instanceof CacheGet.Error) throw answer;
      return answer instanceof CacheGet.Hit && answer.valueString() === VALUE;
    },
  };
}

async function main() {
  const client = await (how === 'sdk' ? throughSdk() : throughMemcached());
  const warm = Math.floor(operations / 10);
  const latencies = [];
  let started = 0, began, cpu, wrong = 0;
  for (let i = 0; i < KEYS; i++) await client.set(`key-${i}`);
  const one = async () => {
    while (started < operations) {
      const mine = started++;
      if (mine === warm) [began, cpu] = [process.hrtime.bigint(), process.cpuUsage()];
      const key = `key-${(mine * 7919) % KEYS}`;
      const sent = process.hrtime.bigint();
      if (mine % 10 === 0) {
        await client.set(key);
      } else if (!(await client.get(key))) {
        wrong++;
      }
      if (mine >= warm) latencies.push(Number(process.hrtime.bigint() - sent) / 1000);
    }
  };
  await Promise.all(Array.from({length: inFlight}, one));
  const seconds = Number(process.hrtime.bigint() - began) / 1e9;
  const used = process.cpuUsage(cpu);
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.floor(latencies.length * share)];
  console.log(JSON.stringify({
    rate: latencies.length / seconds, p50_us: at(0.5), p99_us: at(0.99), wrong,
    cpu_us: (used.user + used.system) / latencies.length,
  }));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
