#!/usr/bin/perl
# A worker made with Gearman::Worker. Arguments: the server's port, functions; see libraries.py.
use strict;
use warnings;
use Gearman::Worker;

$| = 1;
my ($port, @functions) = @ARGV;
my $worker = Gearman::Worker->new(job_servers => ["127.0.0.1:$port"]);

my %behaviours = (
    upper => sub { uc $_[0]->arg },
    same  => sub { $_[0]->arg },
    show  => sub { print unpack('H*', $_[0]->arg), "\n"; 'shown' },
    report => sub {
        my ($job) = @_;
        $job->set_status(1, 4);
        $worker->send_work_data($job, 'a part');
        $worker->send_work_warning($job, 'careful');
        return 'all of ' . $job->arg;
    },
    refuse => sub { undef },
    blow   => sub { $worker->send_work_exception($_[0], 'it blew up'); undef },
    gate   => sub {
        my ($job) = @_;
        $job->set_status(3, 4);
        print $job->handle, "\n";
        chomp(my $line = <STDIN>);
        return "let through: $line";
    },
);

for (@functions) {
    my ($function, $timeout) = split /:/;
    my ($behaviour) = split /@/, $function;
    $worker->register_function($function, $timeout ? $timeout : (), $behaviours{$behaviour});
}
$worker->work;
