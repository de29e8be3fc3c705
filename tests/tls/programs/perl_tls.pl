#!/usr/bin/perl
# Perl's Gearman::Client over TLS: `work` or `submit`, then port, authority, certificate, key.
use strict;
use warnings;
use Gearman::Client;
use Gearman::Worker;

my ($role, $port, $authority, $certificate, $key) = @ARGV;
my $server = {
    host => '127.0.0.1', port => $port, use_ssl => 1,
    ca_file => $authority, cert_file => $certificate, key_file => $key,
};
if ($role eq 'submit') {
    print ${ Gearman::Client->new(job_servers => [$server])->do_task('reverse', 'hello') }, "\n";
    exit;
}
my $worker = Gearman::Worker->new(job_servers => [$server]);
$worker->register_function(reverse => sub { scalar reverse $_[0]->arg });
$worker->work while 1;
