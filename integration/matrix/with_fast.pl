# Perl's Cache::Memcached::Fast: with_fast.pl PORT
use strict;
use warnings;
use utf8;
use Cache::Memcached::Fast;
use Time::HiRes qw(sleep time);

use constant EXPIRY_SECONDS => 3.1;    # After this an exptime of two seconds has passed everywhere.
$| = 1;
my $c = Cache::Memcached::Fast->new({
    servers => ["127.0.0.1:$ARGV[0]"],
    namespace => 'fast:',
    compress_threshold => 10_000,
    io_timeout => 10,
    utf8 => 1,
});
my $large = join '', map { chr(int(rand(256))) } 1 .. 900 * 1024;
my $text = 'compressible ' x 5000;

sub check {
    my ($name, $run) = @_;
    print eval { $run->(); 1 } ? "ok $name\n" : "no $name: " . ($@ =~ s/\s+/ /gr) . "\n";
}

sub shown {
    return join ' ', map { defined ? length > 80 ? substr($_, 0, 80) : $_ : 'undef' } @_;
}

sub equal {
    my ($got, $wanted) = @_;
    my ($g, $w) = map { join "\0", map { $_ // 'undef' } @$_ } $got, $wanted;
    die 'got ' . shown(@$got) . ', wanted ' . shown(@$wanted) if $g ne $w;
}

my $begun = eval {
    equal([$c->set('brief', 'x', 2), $c->get('brief')], [1, 'x']);
    1;
} ? undef : $@;
my $since = time;
check set_get => sub { equal([$c->set('k', 'value'), $c->get('k'), scalar($c->get('absent'))], [1, 'value', undef]) };
my $multi = sub {
    $c->set_multi(map { ["m$_", $_] } 0 .. 199);
    my $found = $c->get_multi((map {"m$_"} 0 .. 199), 'absent');
    equal([map { $found->{"m$_"} } 0 .. 199], [0 .. 199]);
    equal([scalar keys %$found], [200]);
};
check multi => $multi;
check add => sub {
    $c->delete('a');
    equal([$c->add('a', 1), $c->add('a', 2), $c->get('a')], [1, '', 1]);
};
check replace => sub {
    $c->set('r', 1);
    equal([$c->replace('r', 2), $c->replace('none', 2), $c->get('r')], [1, '', 2]);
};
check cas => sub {
    $c->set('c', 1);
    my ($token, $value) = @{ $c->gets('c') };
    equal([$value, $c->cas('c', $token, 2), $c->cas('c', $token, 3), $c->get('c')], [1, 1, '', 2]);
};
check incr => sub {
    $c->set('n', 10);
    equal([$c->incr('n', 5), $c->incr('absent', 1)], [15, '']);
};
check decr => sub {
    $c->set('d', 10);
    equal([$c->decr('d', 3), $c->decr('d', 20) + 0], [7, 0]);
};
check append => sub {
    $c->set('ap', 'a');
    equal([$c->append('ap', 'b'), $c->append('absent', 'b'), $c->get('ap')], [1, '', 'ab']);
};
check prepend => sub {
    $c->set('pr', 'a');
    equal([$c->prepend('pr', 'b'), $c->get('pr')], [1, 'ba']);
};
check touch => sub {
    $c->set('t', 1);
    equal([$c->touch('t', 100), $c->touch('absent', 100), $c->gat(100, 't')], [1, '', 1]);
};
check delete => sub {
    $c->set('x', 1);
    equal([$c->delete('x'), $c->delete('x'), scalar($c->get('x'))], [1, '', undef]);
};
check flags => sub {
    $c->set('typed', { a => [1, 2, { b => 'c' }] });
    my $found = $c->get('typed');
    equal([$found->{a}[1], $found->{a}[2]{b}], [2, 'c']);
    $c->set('wide', 'wért-鍵');
    equal([$c->get('wide')], ['wért-鍵']);
};
check compressed => sub { equal([$c->set('packed', $text), $c->get('packed')], [1, $text]) };
check large => sub { equal([$c->set('large', $large), $c->get('large')], [1, $large]) };
check utf8_keys => sub { equal([$c->set('schlüssel-鍵', 1), $c->get('schlüssel-鍵')], [1, 1]) };
check noreply => sub {    # In void context nothing is waited for.
    $c->set('q' . $_ % 10, $_) for 0 .. 999;
    equal([$c->get('q9')], [999]);
};
check pipeline => $multi;
check expiry => sub {
    die $begun if $begun;
    my $left = $since + EXPIRY_SECONDS - time;
    sleep $left if $left > 0;
    equal([scalar $c->get('brief')], [undef]);
};
