<?php
// Submits the job whose payload is on standard input, and prints its result or its handle.
// Arguments: the server's port, a method of GearmanClient such as doNormal, function, unique key if any.

$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) $argv[1]);
[, , $method, $function] = $argv;
echo $client->$method($function, stream_get_contents(STDIN), ...array_slice($argv, 4));
if ($client->returnCode() !== GEARMAN_SUCCESS) {
    fwrite(STDERR, $client->error());
    exit(1);
}
