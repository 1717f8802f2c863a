<?php
// php-memcached, which is libmemcached: with_php_memcached.php PORT text|binary [USER PASSWORD]
const EXPIRY_SECONDS = 3.1;  // After this an exptime of two seconds has passed everywhere.

[, $port, $dialect] = $argv;
$c = new Memcached();
$c->setOption(Memcached::OPT_BINARY_PROTOCOL, $dialect === 'binary');
$c->setOption(Memcached::OPT_PREFIX_KEY, "php-$dialect" . (isset($argv[3]) ? '-sasl:' : ':'));
if (isset($argv[3])) {
  $c->setSaslAuthData($argv[3], $argv[4]);
}
$c->addServer('127.0.0.1', (int)$port);
$large = random_bytes(900 * 1024);
$text = str_repeat('compressible ', 5000);

function check(string $name, callable $run): void {
  try {
    $run();
    echo "ok $name\n";
  } catch (Throwable $e) {
    echo "no $name: ", strtr($e->getMessage(), "\n", ' '), ' (line ', $e->getLine(), ")\n";
  }
}

function equal($got, $wanted): void {
  global $c;
  if ($got !== $wanted) {
    throw new Exception('got ' . substr(json_encode($got), 0, 80) . ', wanted ' .
                        substr(json_encode($wanted), 0, 80) . ' (' . $c->getResultMessage() . ')');
  }
}

$begun = null;
try {
  equal($c->set('brief', 'x', 2), true);
  equal($c->get('brief'), 'x');
} catch (Throwable $e) {
  $begun = $e;
}
$since = microtime(true);
check('set_get', function () use ($c) {
  equal($c->set('k', 'value'), true);
  equal([$c->get('k'), $c->get('absent')], ['value', false]);
});
$multi = function () use ($c) {
  $many = [];
  for ($i = 0; $i < 200; ++$i) {
    $many["m$i"] = $i;
  }
  equal($c->setMulti($many), true);
  equal($c->getMulti(array_merge(array_keys($many), ['absent'])), $many);
};
check('multi', $multi);
check('add', function () use ($c) {
  $c->delete('a');
  equal([$c->add('a', '1'), $c->add('a', '2'), $c->get('a')], [true, false, '1']);
});
check('replace', function () use ($c) {
  $c->set('r', '1');
  equal([$c->replace('r', '2'), $c->replace('none', '2'), $c->get('r')], [true, false, '2']);
});
check('cas', function () use ($c) {
  $c->set('c', '1');
  $found = $c->get('c', null, Memcached::GET_EXTENDED);
  equal([$c->cas($found['cas'], 'c', '2'), $c->cas($found['cas'], 'c', '3')], [true, false]);
  equal([$found['value'], $c->get('c')], ['1', '2']);
});
check('incr', function () use ($c, $dialect) {
  $c->set('n', 10);
  equal([$c->increment('n', 5), $c->increment('absent', 1)], [15, false]);
  if ($dialect === 'binary') {
    $c->delete('fresh');
    equal([$c->increment('fresh', 5, 10), $c->increment('fresh', 5, 10)], [10, 15]);
  }
});
check('decr', function () use ($c) {
  $c->set('d', 10);
  equal([$c->decrement('d', 3), $c->decrement('d', 20)], [7, 0]);
});
$c->setOption(Memcached::OPT_COMPRESSION, false);
check('append', function () use ($c) {
  $c->set('ap', 'a');
  equal([$c->append('ap', 'b'), $c->append('absent', 'b'), $c->get('ap')], [true, false, 'ab']);
});
check('prepend', function () use ($c) {
  $c->set('pr', 'a');
  equal([$c->prepend('pr', 'b'), $c->get('pr')], [true, 'ba']);
});
$c->setOption(Memcached::OPT_COMPRESSION, true);
check('touch', function () use ($c) {
  $c->set('t', '1');
  equal([$c->touch('t', 100), $c->touch('absent', 100)], [true, false]);
});
check('delete', function () use ($c) {
  $c->set('x', '1');
  equal([$c->delete('x'), $c->delete('x'), $c->get('x')], [true, false, false]);
});
check('flags', function () use ($c) {
  foreach (['text', 42, 1.5, true, ['a' => [1, 2, null]]] as $thing) {
    equal($c->set('typed', $thing), true);
    equal($c->get('typed'), $thing);
  }
});
check('compressed', function () use ($c, $text) {
  equal($c->set('packed', $text), true);
  equal($c->get('packed'), $text);
});
check('large', function () use ($c, $large) {
  equal($c->set('large', $large), true);
  equal($c->get('large') === $large, true);
});
check('utf8_keys', function () use ($c) {
  equal($c->set('schlüssel-鍵', '1'), true);
  equal($c->get('schlüssel-鍵'), '1');
});
check('noreply', function () use ($c) {
  $c->setOption(Memcached::OPT_NOREPLY, true);
  for ($i = 0; $i < 1000; ++$i) {
    $c->set('q' . $i % 10, $i);
  }
  $c->setOption(Memcached::OPT_NOREPLY, false);
  equal($c->get('q9'), 999);
});
check('pipeline', $multi);
check('expiry', function () use ($c, $begun, $since) {
  if ($begun !== null) {
    throw $begun;
  }
  usleep((int)max(0, 1e6 * ($since + EXPIRY_SECONDS - microtime(true))));
  equal($c->get('brief'), false);
});
