// A worker made with gearmanode. Arguments: the server's port, functions; see libraries.py.
'use strict';

const readline = require('readline');
const gearmanode = require('gearmanode');

const [port, ...functions] = process.argv.slice(2);
const worker = gearmanode.worker({ host: '127.0.0.1', port: Number(port) });
const input = readline.createInterface({ input: process.stdin });

function print(line) {
    process.stdout.write(`${line}\n`);
}

const BEHAVIOURS = {
    upper: (job) => job.workComplete(job.payload.toString('latin1').toUpperCase()),
    same: (job) => { // the final result is made UTF-8 text; data is left alone
        job.sendWorkData(job.payload);
        job.workComplete();
    },
    show: (job) => {
        print(job.payload.toString('hex'));
        job.workComplete('shown');
    },
    report: (job) => {
        job.reportStatus(1, 4);
        job.sendWorkData('a part');
        job.reportWarning('careful');
        job.workComplete(`all of ${job.payload}`);
    },
    refuse: (job) => job.reportError(),
    blow: (job) => job.reportException('it blew up'),
    gate: (job) => {
        job.reportStatus(3, 4);
        print(job.handle);
        input.once('line', (line) => job.workComplete(`let through: ${line}`));
    },
};

function register() {
    for (const argument of functions) {
        const [name, timeout] = argument.split(':');
        worker.addFunction(name, BEHAVIOURS[name.split('@')[0]], timeout ? { timeout: Number(timeout) } : {});
    }
}

// It does not connect again by itself; the pause keeps the wait from being busy.
worker.on('socketDisconnect', () => setTimeout(register, 100));
worker.on('socketError', () => {});
worker.on('jobServerError', (server, code, text) => process.stderr.write(`${code} ${text}\n`));
register();
