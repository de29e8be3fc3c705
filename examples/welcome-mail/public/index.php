<?php
// The sign-up page: it queues the welcome mail and answers at once.
declare(strict_types=1);

/** Queue the mail; returns whether the server has it on disk. */
function queue_welcome_mail(string $name, string $email): bool
{
    $client = new GearmanClient();
    $client->setTimeout(10_000);  // milliseconds: a page does not wait longer
    // One live job for each address: whoever clicks twice gets one mail.
    $key = sha1(strtolower($email));
    $user = json_encode(['name' => $name, 'email' => $email], JSON_THROW_ON_ERROR);
    try {
        // libgearman reads GEARMAN_SERVERS by itself, and a server that is added twice may be heard on the wrong connection.
        getenv('GEARMAN_SERVERS') || $client->addServer('127.0.0.1');
        @$client->doBackground('sendWelcomeEmail', $user, $key);
    } catch (GearmanException $e) {
        error_log($e->getMessage());
        return false;
    }
    if ($client->returnCode() === GEARMAN_SUCCESS) {
        return true;
    }
    error_log('the welcome mail is not queued: ' . $client->error());
    return false;
}

/** What the user typed into a field, trimmed; lists and other oddities are nothing. */
function typed(string $field): string
{
    return is_string($_POST[$field] ?? null) ? trim($_POST[$field]) : '';
}

function html(string $text): string
{
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE);
}

$name = typed('name');
$email = typed('email');
$sent = $_SERVER['REQUEST_METHOD'] === 'POST';
$queued = false;
$problem = '';
if ($sent && preg_match('/\A[^\p{C}]{1,80}\z/u', $name) !== 1) {  // no line ends, no other control characters
    [$status, $problem] = [422, 'Please tell us your name, in 80 characters at most.'];
} elseif ($sent && filter_var($email, FILTER_VALIDATE_EMAIL) === false) {
    [$status, $problem] = [422, 'That does not look like a mail address.'];
} elseif ($sent && !($queued = queue_welcome_mail($name, $email))) {
    [$status, $problem] = [503, 'We could not sign you up just now. Please try again in a minute.'];
}
http_response_code($status ?? 200);
?>
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sign up</title>
<link rel="stylesheet" href="style.css">
<main>
<?php if ($queued): ?>
  <h1>Welcome, <?= html($name) ?>!</h1>
  <p>A mail is on its way to <b><?= html($email) ?></b>.</p>
  <p><a href="/">Sign up somebody else</a></p>
<?php else: ?>
  <h1>Sign up</h1>
  <form method="post">
    <label>Name <input name="name" value="<?= html($name) ?>" maxlength="80" autocomplete="name" required></label>
    <label>Mail <input name="email" value="<?= html($email) ?>" type="email" autocomplete="email" required></label>
<?php if ($problem): ?>
    <p role="alert"><?= html($problem) ?></p>
<?php endif ?>
    <button>Sign up</button>
  </form>
<?php endif ?>
</main>
</html>
