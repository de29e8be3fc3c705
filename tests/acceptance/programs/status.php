<?php
// Prints what the server knows of the job with a unique key as JSON: known, running, numerator, denominator, waiting
// clients. Arguments: the server's port, the key.

$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) $argv[1]);
echo json_encode($client->jobStatusByUniqueKey($argv[2]));
