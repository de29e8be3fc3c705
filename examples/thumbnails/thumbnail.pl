#!/usr/bin/perl
# The small form of a picture, from whichever worker is free: thumbnail.pl SIZE PICTURE > SMALL.jpg
use strict;
use warnings;
use Gearman::Client;

my ($size, $file) = @ARGV;
die "usage: thumbnail.pl 320x320 PICTURE > SMALL.jpg\n" unless @ARGV == 2;

open my $in, '<:raw', $file or die "$file: $!\n";
my $picture = do { local $/; <$in> };

my $client = Gearman::Client->new(job_servers => [split /,/, $ENV{GEARMAN_SERVERS} || '127.0.0.1:4730']);
my %meaning = ('undefined jssock' => 'the server is away', 'jshandle fail' => 'the worker could not make one');
my $reason;
my $small = $client->do_task(thumbnail => "$size\n$picture", {
    timeout => 30,    # seconds; without it a client waits for a worker as long as it takes
    on_fail => sub { $reason = $meaning{$_[0]} // $_[0] },
}) or die "$file: no thumbnail: $reason\n";

binmode STDOUT;
print $$small or die "$!\n";
