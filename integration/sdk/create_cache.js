// Creates a cache with the official SDK: create_cache.js HOST:PORT NAME
'use strict';
const {connect} = require('./connect');

connect(process.argv[2]).then(async (client) => {
  await client.createCache(process.argv[3]);
  process.exit(0);
}, (error) => {
  console.error(error);
  process.exit(1);
});
