#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# A watchdog that lies: takes the agent's requests and answers each with a message of its own choosing.
#
# Standard input: a line an answer, "ROUTE HTTP-STATUS BODY-IN-HEX [SIZE]"; SIZE: send only so many bytes of the frame.
# Standard output: "request NUMBER ROUTE BODY-IN-HEX" for each request, "answered" for each answer, "closed" when the agent hung up.
use strict;
use warnings;
use Socket;

my ($magic, $request, $response) = (0x454d4257, 1, 2);
my $layout = 'L S S L l L S S L L a4096'; # struct watchdog_message of src/core/frames.h
my $size = length pack $layout, (0) x 10, '';

$| = 1;
my $path = '/run/emberlock/watchdog/agent.sock';
my $sock;
sub agent {
	socket($sock, PF_UNIX, SOCK_SEQPACKET, 0) or die "socket: $!\n";
	for (1 .. 100) {
		return if connect $sock, sockaddr_un($path);
		select undef, undef, undef, 0.1;
	}
	die "connect: $!\n";
}
agent();
while (my $line = <STDIN>) {
	my ($route, $http, $hex, $cut) = split ' ', $line;
	my $body = pack 'H*', $hex;
	my $number;
	until (defined $number) {
		my $ready = '';
		vec($ready, fileno $sock, 1) = 1;
		select($ready, undef, undef, 30) or die "no request of route $route within 30 s\n";
		defined recv $sock, my $frame, $size + 1, 0 or die "recv: $!\n";
		if (!length $frame) {
			print "closed\n";
			agent();
			next;
		}
		my @f = unpack $layout, $frame;
		printf "request %d %d %s\n", $f[5], $f[6], unpack 'H*', substr $f[10], 0, $f[8];
		$number = $f[5] if $f[1] == $request && $f[6] == $route;
	}
	my $frame = pack $layout, $magic, $response, 0, $size, 0, $number, $route, $http, length $body, 0, $body;
	$frame = substr $frame, 0, $cut if $cut;
	send $sock, $frame, 0 or die "send: $!\n";
	print "answered\n";
}
# What the agent does with the last answer happens before this connection ends.
select undef, undef, undef, 1;
