// What each of the npm drivers tells: a line a feature, "ok NAME", "no NAME: why".
'use strict';
const assert = require('assert');
const crypto = require('crypto');

const kExpiryMs = 3100;  // After this an exptime of two seconds has passed everywhere.

exports.large = crypto.randomBytes(900 * 1024);
exports.text = 'compressible '.repeat(5000);

// Runs the checks of an object of async functions in their order, "expiry" begun first and ended last:
// it returns what is to be looked at after the wait. A check that is null is a call the library lacks.
exports.run = async (checks) => {
  const tell = async (name, run) => {
    if (run === null) return console.log(`no ${name}: no such call`);
    try {
      await run();
      console.log(`ok ${name}`);
    } catch (error) {
      console.log(`no ${name}: ${String((error && error.message) || error).replace(/\s+/g, ' ').slice(0, 200)}`);
    }
  };
  const {expiry, ...others} = checks;
  let gone;
  const begun = await expiry().then((then) => { gone = then; }, (error) => error);
  const since = Date.now();
  for (const [name, run] of Object.entries(others)) await tell(name, run);
  await tell('expiry', async () => {
    if (begun) throw begun;
    await new Promise((done) => setTimeout(done, Math.max(0, since + kExpiryMs - Date.now())));
    await gone();
  });
  process.exit(0);
};

exports.equal = assert.deepStrictEqual;
// What a promise comes to when it is refused.
exports.refused = (promise, as = false) => promise.then((value) => value, () => as);
