<?php
// Draws the Mandelbrot set, row after row, tells the server how far it is, and leaves the picture in results/.
declare(strict_types=1);

const WIDTH = 960, HEIGHT = 540, STEPS = 500;
const RESULTS = __DIR__ . '/results';

/** The path of what becomes of a job. A handle is the name of a file here, so it is looked at. */
function result_path(string $handle, string $suffix): string
{
    return preg_match('/\A[\w.:-]{1,63}\z/', $handle) === 1
        ? RESULTS . "/$handle.$suffix"
        : throw new UnexpectedValueException("$handle is no name for a file");
}

/** Write a file that is there whole or not at all: the page may look for it at any time. */
function leave(string $path, string $content): void
{
    $unfinished = "$path.unfinished";
    if (file_put_contents($unfinished, $content) !== strlen($content) || !rename($unfinished, $path)) {
        throw new RuntimeException("cannot write $path");
    }
}

/** What the job asks for: the middle of the view, its width, and how many points make a pixel each way. */
function asked(string $workload): array
{
    $view = json_decode($workload, true);
    foreach (['x', 'y', 'width', 'samples'] as $key) {
        if (!is_numeric($view[$key] ?? null)) {
            throw new UnexpectedValueException("The job has no $key.");
        }
    }
    return [(float) $view['x'], (float) $view['y'], (float) $view['width'], max(1, min(4, (int) $view['samples']))];
}

/** After how many steps a point runs away, as a smooth number; null if it stays. */
function escape(float $cx, float $cy): ?float
{
    $x = $y = $xx = $yy = 0.0;
    for ($n = 0; $n < STEPS; $n++) {
        $y = 2 * $x * $y + $cy;
        $x = $xx - $yy + $cx;
        $xx = $x * $x;
        $yy = $y * $y;
        if ($xx + $yy > 256) {
            return $n + 1 - log(log($xx + $yy) / log(256), 2);
        }
    }
    return null;
}

function colour(?float $escaped): int
{
    if ($escaped === null) {
        return 0x0b1020;
    }
    $shade = fn (float $phase): int => (int) (127.5 - 127.5 * cos(0.35 * sqrt(max(0, $escaped)) * M_PI + $phase));
    return $shade(0.4) << 16 | $shade(0.9) << 8 | $shade(1.6);
}

function draw(GearmanJob $job): string
{
    [$x, $y, $width, $samples] = asked($job->workload());
    [$columns, $rows] = [WIDTH * $samples, HEIGHT * $samples];
    $points = imagecreatetruecolor($columns, $rows);
    for ($row = 0; $row < $rows; $row++) {
        $cy = $y + ($row / $rows - 0.5) * $width * HEIGHT / WIDTH;
        for ($column = 0; $column < $columns; $column++) {
            imagesetpixel($points, $column, $row, colour(escape($x + ($column / $columns - 0.5) * $width, $cy)));
        }
        $job->sendStatus($row + 1, $rows);
    }
    $picture = imagecreatetruecolor(WIDTH, HEIGHT);
    imagecopyresampled($picture, $points, 0, 0, 0, 0, WIDTH, HEIGHT, $columns, $rows);
    ob_start();
    imagepng($picture);
    return ob_get_clean();
}

function render(GearmanJob $job): void
{
    echo "{$job->handle()} begins\n";
    // The result is there before the job ends, so at any time the server knows the job, or the result is there.
    try {
        $picture = result_path($job->handle(), 'png');
        is_file($picture) || leave($picture, draw($job));  // it may be: when the server died before it heard of the end
        echo "{$job->handle()} is done\n";
    } catch (UnexpectedValueException $e) {  // it would be no better the next time
        leave(result_path($job->handle(), 'txt'), $e->getMessage());
        echo "{$job->handle()} failed: {$e->getMessage()}\n";
        $job->sendFail();
    }
}

is_dir(RESULTS) || mkdir(RESULTS);
while (true) {
    // Connected anew after each loss: an old connection may still bring answers about a job that is ours no more.
    try {
        $worker = new GearmanWorker();
        getenv('GEARMAN_SERVERS') || $worker->addServer('127.0.0.1');  // libgearman reads the variable by itself
        $worker->addFunction('render', 'render');
        echo "waiting for jobs\n";
        while (@$worker->work() || $worker->returnCode() === GEARMAN_WORK_FAIL);
        $reason = $worker->error();
    } catch (GearmanException $e) {
        $reason = $e->getMessage();
    }
    echo "no server; again in a second: $reason\n";
    sleep(1);
}
