// A client made with gearmanode; see libraries.py. Arguments: the server's port.
'use strict';

const gearmanode = require('gearmanode');
const { tell, payload, result, serve } = require('./driver');

// A server that was away is tried again at once, not only after the 30 seconds that are the default.
const client = gearmanode.client({ host: '127.0.0.1', port: Number(process.argv[2]), recoverTime: 1 });
const server = client.jobServers[0];
const jobs = new Map(); // by handle

client.on('socketDisconnect', () => {
    for (const [handle, job] of jobs) {
        if (!job.background) {
            tell('disconnected', handle);
        }
    }
    jobs.clear();
});
client.on('socketError', () => {});
client.on('error', (error) => process.stderr.write(`${error}\n`));

function submit(request) {
    const options = { background: Boolean(request.background), priority: (request.priority || 'normal').toUpperCase() };
    if (request.unique) {
        options.unique = request.unique;
    }
    const job = client.submitJob(request.function, payload(request), options);
    if (job instanceof Error) {
        throw job;
    }
    const parts = [];
    job.on('created', () => {
        jobs.set(job.handle, job);
        tell('created', job.handle);
    });
    job.on('status', (status) => {
        const progress = [Number(status.percent_done_num), Number(status.percent_done_den)];
        if ('known' in status) { // the answer to getStatus comes as the same event
            tell('known', job.handle, { known: status.known, running: status.running, progress });
        } else {
            tell('status', job.handle, { progress });
        }
    });
    job.on('workData', (data) => {
        parts.push(data);
        tell('data', job.handle, result(data));
    });
    job.on('warning', (data) => tell('warning', job.handle, result(data)));
    const end = (event, details) => {
        jobs.delete(job.handle);
        tell(event, job.handle, details());
    };
    job.on('complete', () => end('complete', () => result(Buffer.concat([...parts, job.response]))));
    job.on('failed', () => end('fail', () => ({})));
    job.on('exception', (data) => end('exception', () => result(data)));
}

function status(request) {
    jobs.get(request.handle).getStatus();
}

function exceptions() {
    server.once('option', () => tell('option', '', { taken: true }));
    server.setOption('exceptions');
}

function reconnect() {
    server.once('echo', () => tell('connected'));
    server.echo('are you there');
}

serve({ submit, status, exceptions, reconnect });
