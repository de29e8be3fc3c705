<?php
// A worker for the functions that tests call. Arguments: the server's port, functions.

function upper(GearmanJob $job): string
{
    return strtoupper($job->workload());
}

/** Gives the payload back as it came. */
function same(GearmanJob $job): string
{
    return $job->workload();
}

/** Sends one of everything before it completes. */
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

/** Says its handle, then runs until the test gives it a line to read. */
function gate(GearmanJob $job): string
{
    $job->sendStatus(3, 4);
    echo $job->handle(), "\n";
    return 'let through: ' . rtrim(fgets(STDIN));
}

$worker = new GearmanWorker();
$worker->addServer('127.0.0.1', (int) $argv[1]);
foreach (array_slice($argv, 2) as $function) {
    $worker->addFunction($function, $function);
}
while ($worker->work());
