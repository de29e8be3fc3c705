<?php
// Prints what the server knows of a job as JSON: known, running, numerator, denominator (and waiting clients).
// Arguments: the server's port, "handle" or "unique", and which.

$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) $argv[1]);
echo json_encode($argv[2] === 'unique' ? $client->jobStatusByUniqueKey($argv[3]) : $client->jobStatus($argv[3]));
