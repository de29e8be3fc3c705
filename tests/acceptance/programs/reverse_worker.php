<?php
// Reverses strings, in the words of the PHP manual. Arguments: the server's port.

$worker = new GearmanWorker();
$worker->addServer('127.0.0.1', (int) $argv[1]);
$worker->addFunction('reverse', function (GearmanJob $job) {
    $reversed = strrev($job->workload());
    echo $reversed, "\n";
    return $reversed;
});
while ($worker->work());
