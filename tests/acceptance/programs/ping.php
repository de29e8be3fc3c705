<?php
// Sends a payload to the server and expects it back. Arguments: the server's port.

$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) $argv[1]);
exit($client->ping('are you there') ? 0 : 1);
