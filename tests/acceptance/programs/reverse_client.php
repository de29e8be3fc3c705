<?php
// Submits one background job, in the words of the PHP manual. Arguments: the server's port.

$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) $argv[1]);
$client->doBackground('reverse', 'Hello World!');
exit($client->returnCode() == GEARMAN_SUCCESS ? 0 : 1);
