// A client made with abraxas; see libraries.py. Arguments: the server's port.
'use strict';

const { Client } = require('abraxas');
const { tell, payload, result, serve } = require('./driver');

const client = Client.connect({ host: '127.0.0.1', port: Number(process.argv[2]) });
const waiting = new Set(); // handles

client.on('disconnect', () => {
    waiting.forEach((handle) => tell('disconnected', handle));
    waiting.clear();
});
// It notices a connection that was closed, but not one that was reset.
client.on('connection-error', (error, self, connection) => {
    process.stderr.write(`${error}\n`);
    if (error.name === 'ConnectError' && connection.socket) {
        connection.socket.disconnect();
    }
});

function options(request) {
    return {
        priority: request.priority || 'normal',
        uniqueid: request.unique,
    };
}

function submit(request) {
    if (request.background) {
        client.submitJobBg(request.function, options(request), payload(request), created);
        return;
    }
    const task = client.submitJob(request.function, options(request), payload(request));
    const parts = [];
    const end = (event, details) => {
        waiting.delete(task.jobid);
        tell(event, task.jobid, details);
    };
    task.on('created', () => {
        waiting.add(task.jobid);
        tell('created', task.jobid);
    });
    task.on('status', (fraction) => tell('status', task.jobid, { progress: [fraction, 1] }));
    task.on('warn', (text) => tell('warning', task.jobid, { data: text }));
    task.on('data', (data) => { // the result is a stream: data first, what WORK_COMPLETE brings last
        parts.push(data);
        tell('data', task.jobid, result(data));
    });
    task.on('end', () => end('complete', result(Buffer.concat(parts))));
    task.on('error', (error) => {
        const event = { JobException: 'exception', JobFail: 'fail' }[error.name];
        end(event, { data: error.message });
    });
}

function created(error, handle) {
    if (error) {
        throw error;
    }
    tell('created', String(handle));
}

function later(request) {
    client.submitJobAt(request.function, request.when, {}, payload(request), created);
}

function schedule(request) {
    client.submitJobSched(request.function, request.when, {}, payload(request), created);
}

function status(request) {
    client.getStatus(request.handle, (error, found) => {
        const progress = [found.complete, 1];
        tell('known', request.handle, { known: found.known > 0, running: found.running > 0, progress });
    });
}

// It asks for exceptions whenever it connects.
function exceptions() {
    client.getConnection(null, (error, connection) => {
        tell('option', '', { taken: connection.feature.exceptions });
    });
}

// It connects again by itself, and what is submitted meanwhile waits.
function reconnect() {
    client.getConnection(null, () => tell('connected'));
}

serve({ submit, later, schedule, status, exceptions, reconnect });
