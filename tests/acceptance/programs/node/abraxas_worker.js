// A worker made with abraxas. Arguments: the server's port, functions; see libraries.py.
'use strict';

const readline = require('readline');
const { Client } = require('abraxas');

const [port, ...functions] = process.argv.slice(2);
const client = Client.connect({ host: '127.0.0.1', port: Number(port) });
const input = readline.createInterface({ input: process.stdin });

// It notices a connection that was closed, but not one that was reset.
client.on('connection-error', (error, self, connection) => {
    process.stderr.write(`${error}\n`);
    if (error.name === 'ConnectError' && connection.socket) {
        connection.socket.disconnect();
    }
});

function print(line) {
    process.stdout.write(`${line}\n`);
}

// An empty payload comes as an empty array.
function bytes(task) {
    return Buffer.from(task.payload);
}

const BEHAVIOURS = {
    upper: (task) => bytes(task).toString('latin1').toUpperCase(),
    same: bytes,
    show: (task) => {
        print(bytes(task).toString('hex'));
        return 'shown';
    },
    report: (task) => {
        task.status(1 / 4);
        task.warn('careful');
        return `all of ${task.payload}`;
    },
    blow: (task) => task.error('it blew up'),
    gate: (task) => {
        task.status(3 / 4);
        print(task.jobid);
        return new Promise((resolve) => input.once('line', (line) => resolve(`let through: ${line}`)));
    },
};

for (const argument of functions) {
    const [name, timeout] = argument.split(':');
    client.registerWorker(name, timeout ? { timeout: Number(timeout) } : {}, BEHAVIOURS[name.split('@')[0]]);
}
