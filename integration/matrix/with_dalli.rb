# dalli 3.0, which speaks the binary protocol: with_dalli.rb PORT [USER PASSWORD]
require 'dalli'
require 'logger'
require 'securerandom'

EXPIRY_SECONDS = 3.1 # After this an exptime of two seconds has passed everywhere.
Dalli.logger = Logger.new(File::NULL)
port, user, password = ARGV
names = user ? { username: user, password: password } : {}
C = Dalli::Client.new("127.0.0.1:#{port}", { namespace: "dalli#{user && '-sasl'}" }.merge(names))
LARGE = SecureRandom.bytes(900 * 1024)
TEXT = 'compressible ' * 5000

def check(name)
  yield
  puts "ok #{name}"
rescue StandardError => e
  puts "no #{name}: #{e.class} #{e.message} (line #{e.backtrace_locations&.first&.lineno})".tr("\n", ' ')
end

def equal(got, wanted)
  raise "got #{got.inspect[0, 80]}, wanted #{wanted.inspect[0, 80]}" unless got == wanted
end

# dalli says no in several ways.
def told(answer)
  !answer.nil? && answer != false && answer != 0
end

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

begun = begin
  C.set('brief', 'x', 2)
  equal(C.get('brief'), 'x')
  nil
rescue StandardError => e
  e
end
since = now
check('set_get') do
  C.set('k', 'value')
  equal([C.get('k'), C.get('absent')], ['value', nil])
end
multi = lambda do
  many = (0...200).to_h { |i| ["m#{i}", i] }
  C.multi { many.each { |k, v| C.set(k, v) } }
  equal(C.get_multi(*many.keys, 'absent'), many)
end
check('multi', &multi)
check('add') do
  C.delete('a')
  equal([C.add('a', '1') && true, C.add('a', '2'), C.get('a')], [true, false, '1'])
end
check('replace') do
  C.set('r', '1')
  equal([told(C.replace('r', '2')), told(C.replace('none', '2')), C.get('r')], [true, false, '2'])
end
check('cas') do
  C.set('c', '1')
  value, token = C.get_cas('c')
  equal([value, C.set_cas('c', '2', token) && true, C.set_cas('c', '3', token)], ['1', true, false])
  equal([C.cas('c') { |v| "#{v}4" } && true, C.get('c'), C.cas('absent') { 'x' }], [true, '24', nil])
end
check('incr') do
  C.delete('n')
  equal([C.incr('n', 5), C.incr('n', 5, nil, 10), C.incr('n', 5), C.get('n', raw: true).to_i],
        [nil, 10, 15, 15])
end
check('decr') do
  C.set('d', '10', 0, raw: true)
  equal([C.decr('d', 3), C.decr('d', 20)], [7, 0])
end
check('append') do
  C.set('ap', 'a', 0, raw: true)
  equal([C.append('ap', 'b'), C.append('absent', 'b'), C.get('ap')], [true, false, 'ab'])
end
check('prepend') do
  C.set('pr', 'a', 0, raw: true)
  equal([C.prepend('pr', 'b'), C.get('pr')], [true, 'ba'])
end
check('touch') do
  C.set('t', '1')
  equal([C.touch('t', 100), C.touch('absent', 100), C.gat('t', 100)], [true, nil, '1'])
end
check('delete') do
  C.set('x', '1')
  equal([told(C.delete('x')), told(C.delete('x')), C.get('x')], [true, false, nil])
end
check('flags') do
  ['text', 42, :symbol, { 'a' => [1, 2, nil] }].each do |thing|
    C.set('typed', thing)
    equal(C.get('typed'), thing)
  end
end
check('compressed') do
  C.set('packed', TEXT, 0, compress: true)
  equal(C.get('packed'), TEXT)
end
check('large') do
  C.set('large', LARGE, 0, raw: true)
  equal(C.get('large', raw: true), LARGE)
end
check('utf8_keys') do
  C.set('schlüssel-鍵', '1')
  equal(C.get('schlüssel-鍵'), '1')
end
check('noreply') do # Within multi, stores are quiet.
  C.multi { 1000.times { |i| C.set("q#{i % 10}", i) } }
  equal(C.get('q9'), 999)
end
check('pipeline', &multi)
check('expiry') do
  raise begun if begun

  sleep([0, since + EXPIRY_SECONDS - now].max)
  equal(C.get('brief'), nil)
end
