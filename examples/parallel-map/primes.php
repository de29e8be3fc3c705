<?php
// How many primes are there up to a number? Maps count_primes over ranges of numbers: php primes.php UPTO PARTS
declare(strict_types=1);

const TRIES = 30;

/**
 * The result of a function for each input, in the order of the inputs, from as many workers as there are.
 *
 * A worker that dies costs nothing: the server gives what it had in hand to another one. A server that dies loses
 * what somebody waits for (these are no background jobs), so what is missing is asked for again.
 */
function parallel_map(string $function, array $inputs): array
{
    $results = [];
    for ($try = 1; $missing = array_diff_key($inputs, $results); $try++) {
        try {
            $client = new GearmanClient();
            getenv('GEARMAN_SERVERS') || $client->addServer('127.0.0.1');  // libgearman reads the variable by itself
            $client->setCompleteCallback(function (GearmanTask $task, int $index) use (&$results, $inputs): void {
                $results[$index] = $task->data();
                fprintf(STDERR, "%d of %d\n", count($results), count($inputs));
            });
            $client->setFailCallback(function (GearmanTask $task, int $index) use ($inputs): never {
                throw new RuntimeException("a worker refused $inputs[$index]");
            });
            foreach ($missing as $index => $input) {
                $client->addTask($function, $input, $index);
            }
            if (!@$client->runTasks()) {
                throw new GearmanException($client->error());
            }
        } catch (GearmanException $e) {
            if ($try === TRIES) {
                throw new RuntimeException("giving up: {$e->getMessage()}");
            }
            fwrite(STDERR, "{$e->getMessage()}; in a second the rest is asked for again\n");
            sleep(1);
        }
    }
    ksort($results);
    return $results;
}

[$upto, $parts] = [(int) ($argv[1] ?? 2_000_000), (int) ($argv[2] ?? 20)];
if ($upto < 1 || $parts < 1) {
    fwrite(STDERR, "usage: php primes.php UPTO PARTS\n");
    exit(2);
}
$step = (int) ceil($upto / $parts);
$ranges = [];
for ($from = 1; $from <= $upto; $from += $step) {
    $ranges[] = $from . ' ' . min($from + $step - 1, $upto);
}
try {
    $counts = parallel_map('count_primes', $ranges);
} catch (RuntimeException $e) {
    fwrite(STDERR, $e->getMessage() . "\n");
    exit(1);
}
foreach ($ranges as $index => $range) {
    printf("%18s: %6d\n", $range, $counts[$index]);
}
printf("%18s: %6d\n", "1 $upto", array_sum($counts));
