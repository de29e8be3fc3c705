// What the client programs in Node.js share: JSON requests in, JSON events out, one a line; see libraries.py.
'use strict';

const crypto = require('crypto');
const readline = require('readline');

const LONG = 4096;

function tell(event, handle = '', details = {}) {
    process.stdout.write(JSON.stringify({ event, handle, ...details }) + '\n');
}

function payload(request) {
    const data = Buffer.from(request.data, 'latin1');
    return Buffer.alloc(data.length * (request.times || 1), data);
}

function result(data) {
    return data.length > LONG
        ? { size: data.length, sha256: crypto.createHash('sha256').update(data).digest('hex') }
        : { data: data.toString('latin1') };
}

function serve(requests) {
    readline.createInterface({ input: process.stdin }).on('line', (line) => {
        const request = JSON.parse(line);
        requests[request.request](request);
    });
}

module.exports = { tell, payload, result, serve };
