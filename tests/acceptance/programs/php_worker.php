<?php
// A worker made with PHP's gearman extension. Arguments: the server's port, functions; see libraries.py.

function upper(GearmanJob $job): string
{
    return strtoupper($job->workload());
}

function same(GearmanJob $job): string
{
    return $job->workload();
}

function show(GearmanJob $job): string
{
    echo bin2hex($job->workload()), "\n";
    return 'shown';
}

function report(GearmanJob $job): string
{
    $job->sendStatus(1, 4);
    $job->sendData('a part');
    $job->sendWarning('careful');
    return 'all of ' . $job->workload();
}

function refuse(GearmanJob $job): void
{
    $job->sendFail();
}

function blow(GearmanJob $job): void
{
    $job->sendException('it blew up');
}

function gate(GearmanJob $job): string
{
    $job->sendStatus(3, 4);
    echo $job->handle(), "\n";
    return 'let through: ' . rtrim(fgets(STDIN));
}

$worker = new GearmanWorker();
$worker->addServer('127.0.0.1', (int) $argv[1]);
foreach (array_slice($argv, 2) as $argument) {
    [$function, $timeout] = explode(':', "$argument:0");
    $worker->addFunction($function, explode('@', $function)[0], null, (int) $timeout);
}
while (true) {
    if (!@$worker->work()) {
        usleep(100_000); // the server is gone: the next call connects again
    }
}
