<?php
// A client made with PHP's gearman extension; see libraries.py. Arguments: the server's port.

const LONG = 4096;

$client = new GearmanClient();
$client->addServer('127.0.0.1', (int) $argv[1]);

function bytes(string $text): string
{
    return iconv('UTF-8', 'ISO-8859-1', $text);
}

function text(string $bytes): string
{
    return iconv('ISO-8859-1', 'UTF-8', $bytes);
}

function tell(string $event, string $handle = '', array $details = []): void
{
    echo json_encode(['event' => $event, 'handle' => $handle] + $details, JSON_THROW_ON_ERROR), "\n";
}

function result(string $data): array
{
    return strlen($data) > LONG
        ? ['size' => strlen($data), 'sha256' => hash('sha256', $data)]
        : ['data' => text($data)];
}

/** The parts of the result that came before it. */
$parts = [];

$client->setCreatedCallback(function (GearmanTask $task): void {
    tell('created', $task->jobHandle());
});
$client->setDataCallback(function (GearmanTask $task) use (&$parts): void {
    $parts[$task->jobHandle()][] = $task->data();
    tell('data', $task->jobHandle(), result($task->data()));
});
$client->setWarningCallback(function (GearmanTask $task): void {
    tell('warning', $task->jobHandle(), ['data' => text($task->data())]);
});
$client->setStatusCallback(function (GearmanTask $task): void {
    tell('status', $task->jobHandle(), ['progress' => [$task->taskNumerator(), $task->taskDenominator()]]);
});
$client->setCompleteCallback(function (GearmanTask $task) use (&$parts): void {
    $handle = $task->jobHandle();
    tell('complete', $handle, result(implode('', $parts[$handle] ?? []) . $task->data()));
    unset($parts[$handle]);
});
// Without this one a task with an exception never ends: the extension asks for exceptions in any case.
$client->setExceptionCallback(function (GearmanTask $task): void {
    tell('exception', $task->jobHandle(), ['data' => text($task->data())]);
});
$client->setFailCallback(function (GearmanTask $task): void {
    tell('fail', $task->jobHandle());
});

function submit(GearmanClient $client, array $request): void
{
    $priority = ['high' => 'High', 'normal' => '', 'low' => 'Low'][$request['priority'] ?? 'normal'];
    $data = str_repeat(bytes($request['data']), $request['times'] ?? 1);
    $unique = $request['unique'] ?? '';
    if ($request['background'] ?? false) {
        $handle = $client->{"do{$priority}Background"}($request['function'], $data, $unique);
        tell('created', $handle);
        return;
    }
    $client->setTimeout(isset($request['timeout']) ? (int) ($request['timeout'] * 1000) : -1);
    $client->{"addTask$priority"}($request['function'], $data, null, $unique) or exit(1);
    if (!$client->runTasks()) {
        match ($client->returnCode()) {
            GEARMAN_TIMEOUT => tell('timeout'),
            GEARMAN_LOST_CONNECTION => tell('disconnected'),
            default => exit($client->error()),
        };
    }
}

function status(GearmanClient $client, array $request): void
{
    [$known, $running, $numerator, $denominator] = $client->jobStatus($request['handle']);
    $progress = [$numerator, $denominator];
    tell('known', $request['handle'], ['known' => $known, 'running' => $running, 'progress' => $progress]);
}

function exceptions(GearmanClient $client): void
{
    tell('option', '', ['taken' => $client->enableExceptionHandler()]);
}

function reconnect(GearmanClient $client): void
{
    $client->ping('are you there') ? tell('connected') : exit($client->error());
}

while (($line = fgets(STDIN)) !== false) {
    $request = json_decode($line, true, 512, JSON_THROW_ON_ERROR);
    $request['request']($client, $request);
}
