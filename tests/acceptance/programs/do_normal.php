<?php
// Runs one job with doNormal in a loop, as the PHP manual does, and prints what each round brings as JSON.
// Arguments: the server's port, function, payload.

function tell(string $event, mixed $detail): void
{
    echo json_encode([$event, $detail]), "\n";
}

$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) $argv[1]);
do {
    $result = $client->doNormal($argv[2], $argv[3]);
    switch ($client->returnCode()) {
        case GEARMAN_WORK_STATUS:
            tell('status', $client->doStatus());
            break;
        case GEARMAN_WORK_DATA:
            tell('data', $result);
            break;
        case GEARMAN_WORK_WARNING:
            tell('warning', $result);
            break;
        case GEARMAN_WORK_FAIL:
            tell('fail', null);
            exit;
        case GEARMAN_SUCCESS:
            tell('complete', $result);
            exit;
        default:
            fwrite(STDERR, $client->error());
            exit(1);
    }
} while (true);
