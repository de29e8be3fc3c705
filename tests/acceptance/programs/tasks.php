<?php
// Adds a task for each METHOD:FUNCTION:PAYLOAD, runs them all, prints every callback as JSON: event, payload, detail.
// Arguments: the server's port, tasks.

function teller(string $event, ?callable $detail = null): callable
{
    return function (GearmanTask $task, mixed $context = null) use ($event, $detail): void {
        echo json_encode([$event, $context, $detail ? $detail($task) : null]), "\n";
    };
}

$data = fn (GearmanTask $task) => $task->data();
$progress = fn (GearmanTask $task) => [$task->taskNumerator(), $task->taskDenominator()];

$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) $argv[1]);
$client->enableExceptionHandler() or exit(1);
$client->setCreatedCallback(teller('created', fn (GearmanTask $task) => $task->jobHandle()));
$client->setDataCallback(teller('data', $data));
$client->setWarningCallback(teller('warning', $data));
$client->setStatusCallback(teller('status', $progress));
$client->setCompleteCallback(teller('complete', $data));
$client->setExceptionCallback(teller('exception', $data));
$client->setFailCallback(teller('fail'));
foreach (array_slice($argv, 2) as $description) {
    [$method, $function, $payload] = explode(':', $description);
    $client->$method($function, $payload, $payload) or exit(1);
}
if (!$client->runTasks()) {
    fwrite(STDERR, $client->error());
    exit(1);
}
