<?php
// Shows a secret by ping, the one way that PHP has, submits to a function and works on it. Arguments: port, secret,
// function. Prints what came of each.

[, $port, $secret, $function] = $argv;

$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) $port);
echo 'client ', @$client->ping("auth:$secret") ? 'welcome' : 'refused', "\n";
@$client->doBackground($function, 'hello');
echo 'submit ', $client->returnCode() === GEARMAN_SUCCESS ? 'accepted' : $client->error(), "\n";

$worker = new GearmanWorker();
$worker->addServer('127.0.0.1', (int) $port);
echo 'worker ', @$worker->ping("auth:$secret") ? 'welcome' : 'refused', "\n";
$worker->setTimeout(10000);
$worker->addFunction($function, function (GearmanJob $job) {
    echo 'job ', $job->workload(), "\n";
});
@$worker->work();
echo 'end ', $worker->returnCode() === GEARMAN_SUCCESS ? 'done' : 'refused', "\n";
