# A worker that shows a secret as its id, and runs one job. Arguments: port, secret, function.
use strict;
use warnings;
use Gearman::Worker;

my ($port, $secret, $function) = @ARGV;
my $worker = Gearman::Worker->new(job_servers => ["127.0.0.1:$port"], client_id => "auth:$secret");
my $done = 0;
$worker->register_function($function => sub { $done = 1; print $_[0]->arg, "\n"; return "done"; });
$worker->work(stop_if => sub { $done });
