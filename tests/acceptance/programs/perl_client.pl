#!/usr/bin/perl
# A client made with Gearman::Client; see libraries.py. Arguments: the server's port.
use strict;
use warnings;
use Digest::SHA qw(sha256_hex);
use Gearman::Client;
use Gearman::Task;
use JSON::PP;

use constant LONG => 4096;

$| = 1;
my $json   = JSON::PP->new->ascii;
my $server = "127.0.0.1:$ARGV[0]";
my $client = Gearman::Client->new(job_servers => [$server]);

sub event {
    my ($event, $handle, %details) = @_;
    $handle =~ s{^.*//}{};    # its handles have the server in front
    print $json->encode({ event => $event, handle => $handle, %details }), "\n";
}

sub result {
    my ($data) = @_;
    return (data => $data) if length $data <= LONG;
    return (size => length $data, sha256 => sha256_hex($data));
}

sub submit {
    my (%request) = @_;
    my $data = $request{data} x ($request{times} // 1);
    utf8::downgrade($data);
    my ($task, $result) = (undef, '');
    my %options = (
        uniq         => $request{unique},
        priority     => $request{priority} // 'normal',
        on_data      => sub { $result .= ${ $_[0] }; event('data', $task->handle, result(${ $_[0] })) },
        on_warning   => sub { event('warning', $task->handle, data => ${ $_[0] }) },
        on_status    => sub { event('status', $task->handle, progress => [ map { 0 + $_ } @_ ]) },
        on_complete  => sub { event('complete', $task->handle, result($result . ${ $_[0] })) },
        on_exception => sub { event('exception', $task->handle, data => $_[0]) },
        on_fail      => sub { event($_[0] =~ /elapsed timeout/ ? 'timeout' : 'fail', $task->handle) },
    );
    $task = Gearman::Task->new($request{function}, \$data, \%options);
    if ($request{background}) {
        event('created', $client->dispatch_background($task));
        return;
    }
    my $tasks = $client->new_task_set;
    event('created', $tasks->add_task($task));
    eval { $tasks->wait($request{timeout} ? (timeout => $request{timeout}) : ()); 1 }
        or event('disconnected', $task->handle);
}

sub status {
    my (%request) = @_;
    my $status = $client->get_status("$server//$request{handle}");
    event(
        'known', $request{handle},
        known    => $status->known   ? JSON::PP::true : JSON::PP::false,
        running  => $status->running ? JSON::PP::true : JSON::PP::false,
        progress => [ map { 0 + $_ } @{ $status->progress } ],
    );
}

sub exceptions {
    $client = Gearman::Client->new(job_servers => [$server], exceptions => 1);
    event('option', '', taken => $client->{exceptions} ? JSON::PP::true : JSON::PP::false);
}

# The first call after a lost connection finds it out and fails.
sub reconnect {
    eval { $client->get_status("$server//any") };
    event('connected', '');
}

my %requests = (submit => \&submit, status => \&status, exceptions => \&exceptions, reconnect => \&reconnect);
while (my $line = <STDIN>) {
    my $request = $json->decode($line);
    $requests{ delete $request->{request} }->(%$request);
}
