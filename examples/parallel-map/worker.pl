#!/usr/bin/perl
# Counts the primes in a range: "200001 300000" gives "8013". The long way, to have something to do.
use strict;
use warnings;
use Gearman::Worker;

$| = 1;

sub is_prime {
    my ($n) = @_;
    return $n == 2 if $n < 3 or $n % 2 == 0;
    for (my $divisor = 3; $divisor * $divisor <= $n; $divisor += 2) {
        return 0 if $n % $divisor == 0;
    }
    return 1;
}

sub count_primes {
    my ($job) = @_;
    my ($from, $to) = $job->arg =~ /\A(\d{1,12}) (\d{1,12})\z/ or return;    # undef fails the job
    print "$$ counts from $from to $to\n";
    return scalar grep { is_prime($_) } $from .. $to;
}

# Gearman::Worker connects by itself, and again whenever the connection is lost.
my $worker = Gearman::Worker->new(job_servers => [split /,/, $ENV{GEARMAN_SERVERS} || '127.0.0.1:4730']);
$worker->register_function(count_primes => \&count_primes);
print "$$ waits for ranges\n";
$worker->work while 1;
