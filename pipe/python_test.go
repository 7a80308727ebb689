package pipe_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/pipe"
)

// The sizes that Python's frames treat differently, and their neighbours.
var pythonSizes = []int{0, 1, 2, 64, 16<<10 - 1, 16 << 10, 16<<10 + 1, 1 << 20}

// findPythons asks once for all Pythons of this machine: the one called python3, and one of each other version. What does not run is a
// stand-in for one that is not installed.
var findPythons = sync.OnceValue(func() (found [][2]string) {
	names := []string{"python3", "python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14", "python3.15"}
	answers := make([][]byte, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			wg.Go(func() {
				// The real path saves the next calls the way through a version manager.
				answers[i], _ = exec.Command(name, "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)").Output()
			})
		}
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, answer := range answers {
		version, path, ok := strings.Cut(strings.TrimSpace(string(answer)), " ")
		if ok && !seen[version] {
			seen[version] = true
			found = append(found, [2]string{version, path})
		}
	}
	return found
})

// pythons calls f for every Python of this machine.
func pythons(t *testing.T, f func(t *testing.T, python string)) {
	found := findPythons()
	if len(found) == 0 {
		t.Skip("no python3 on this machine")
	}
	for _, p := range found {
		t.Run(p[0], func(t *testing.T) { f(t, p[1]) })
	}
}

// A script runs Python, and answers by lines on its output.
type script struct {
	cmd    *exec.Cmd
	out    *bufio.Scanner
	stderr bytes.Buffer
}

func runPython(t *testing.T, python, program string, args ...string) *script {
	t.Helper()
	s := &script{cmd: exec.Command(python, append([]string{"-c", pythonPrelude + program}, args...)...)}
	s.cmd.Stderr = &s.stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewScanner(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(60*time.Second, func() { s.cmd.Process.Kill() })
	t.Cleanup(func() {
		watchdog.Stop()
		s.cmd.Process.Kill()
		s.cmd.Wait()
		if t.Failed() {
			t.Logf("python: %s", &s.stderr)
		}
	})
	return s
}

func (s *script) line(t *testing.T) string {
	t.Helper()
	if !s.out.Scan() {
		t.Fatalf("Python said nothing: %v\n%s", s.out.Err(), &s.stderr)
	}
	return s.out.Text()
}

const pythonPrelude = `
import sys
from multiprocessing.connection import Client, Listener, Connection, wait
from multiprocessing import AuthenticationError

def say(*words):
    print(*words, flush=True)

def address(network, text):
    if network == "unix":
        return text
    host, port = text.rsplit(":", 1)
    return host, int(port)

def key(text):
    return None if text == "-" else text.encode()

# The other side sends what it likes until an empty message, and gets it all back; then the same the other way round.
def echo(c):
    while True:
        b = c.recv_bytes()
        c.send_bytes(b)
        if b == b"end":
            return

def drive(c, sizes):
    for n in sizes:
        for b in (bytes(n), b"x" * n, bytes(i * 7 % 251 for i in range(n))):
            c.send_bytes(b)
            assert c.poll(60)
            assert c.recv_bytes() == b, n
            if n > 0:
                c.send_bytes(b)
                buf = bytearray(n + 1)
                assert c.recv_bytes_into(buf) == n
                assert buf[:n] == b
    c.send_bytes(b"end")
    assert c.recv_bytes() == b"end"
`

func echoPython(t *testing.T, c *pipe.Conn) {
	t.Helper()
	for {
		b, err := c.RecvBytes()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SendBytes(b); err != nil {
			t.Fatal(err)
		}
		if string(b) == "end" {
			return
		}
	}
}

func drivePython(t *testing.T, c *pipe.Conn) {
	t.Helper()
	for _, n := range append(pythonSizes, -1) {
		message := []byte("end")
		if n >= 0 {
			message = pattern(n)
		}
		// The big ones fill both directions: ours has to be read while we send.
		sent := make(chan error, 1)
		go func() { sent <- c.SendBytes(message) }()
		b, err := c.RecvBytes()
		if err != nil || !bytes.Equal(b, message) {
			t.Fatalf("%d bytes came back as %d, %v", n, len(b), err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

func pythonSizesText() string {
	var words []string
	for _, n := range pythonSizes {
		words = append(words, strconv.Itoa(n))
	}
	return strings.Join(words, ",")
}

var pythonKeys = map[string]string{"no key": "-", "key": "secret", "long key": "a longer key, with spaces, of more bytes than a block of the hash has, which is sixty-four for MD5 and SHA-256"}

func goKey(text string) []byte {
	if text == "-" {
		return nil
	}
	return []byte(text)
}

func TestPythonClient(t *testing.T) {
	pythons(t, func(t *testing.T, python string) {
		for _, network := range []string{"unix", "tcp"} {
			for name, key := range pythonKeys {
				t.Run(network+", "+name, func(t *testing.T) {
					l := listen(t, network, pipe.Options{AuthKey: goKey(key)})
					runPython(t, python, `
c = Client(address(sys.argv[1], sys.argv[2]), authkey=key(sys.argv[3]))
drive(c, [int(n) for n in sys.argv[4].split(",")])
echo(c)
c.close()
`, network, l.Addr().String(), key, pythonSizesText())
					c, err := l.Accept()
					if err != nil {
						t.Fatal(err)
					}
					closeWith(t, c)
					echoPython(t, c)
					drivePython(t, c)
					if _, err := c.RecvBytes(); err != io.EOF {
						t.Errorf("end: %v", err)
					}
				})
			}
		}
	})
}

func TestPythonListener(t *testing.T) {
	pythons(t, func(t *testing.T, python string) {
		for _, network := range []string{"unix", "tcp"} {
			for name, key := range pythonKeys {
				t.Run(network+", "+name, func(t *testing.T) {
					address := "127.0.0.1:0"
					if network == "unix" {
						address = filepath.Join(shortDir(t), "s")
					}
					s := runPython(t, python, `
l = Listener(address(sys.argv[1], sys.argv[2]), authkey=key(sys.argv[3]))
say(l.address if sys.argv[1] == "unix" else "%s:%d" % l.address)
c = l.accept()
drive(c, [int(n) for n in sys.argv[4].split(",")])
echo(c)
try:
    c.recv_bytes()
except EOFError:
    say("end")
`, network, address, key, pythonSizesText())
					c, err := pipe.Dial(withTimeout(t), network, s.line(t), pipe.Options{AuthKey: goKey(key)})
					if err != nil {
						t.Fatal(err)
					}
					echoPython(t, c)
					drivePython(t, c)
					c.Close()
					if got := s.line(t); got != "end" {
						t.Error(got)
					}
				})
			}
		}
	})
}

func TestPythonWrongKey(t *testing.T) {
	pythons(t, func(t *testing.T, python string) {
		t.Run("client", func(t *testing.T) {
			l := listen(t, "unix", pipe.Options{AuthKey: []byte("right")})
			s := runPython(t, python, `
try:
    Client(sys.argv[1], authkey=b"wrong")
except AuthenticationError as e:
    say(e)
c = Client(sys.argv[1], authkey=b"right")
say(c.recv_bytes().decode())
`, l.Addr().String())
			if _, err := l.Accept(); !errors.Is(err, pipe.ErrAuth) || !errorsContain(err, "digest received was wrong") {
				t.Errorf("Accept: %v", err)
			}
			if got := s.line(t); got != "digest sent was rejected" {
				t.Errorf("Python: %s", got)
			}
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			closeWith(t, c)
			c.SendBytes([]byte("welcome"))
			if got := s.line(t); got != "welcome" {
				t.Errorf("Python: %s", got)
			}
		})
		t.Run("listener", func(t *testing.T) {
			path := filepath.Join(shortDir(t), "s")
			s := runPython(t, python, `
l = Listener(sys.argv[1], authkey=b"right")
say("ready")
try:
    l.accept()
except AuthenticationError as e:
    say(e)
`, path)
			s.line(t)
			if _, err := pipe.Dial(withTimeout(t), "unix", path, pipe.Options{AuthKey: []byte("wrong")}); !errors.Is(err, pipe.ErrAuth) || !errorsContain(err, "digest sent was rejected") {
				t.Errorf("Dial: %v", err)
			}
			if got := s.line(t); got != "digest received was wrong" {
				t.Errorf("Python: %s", got)
			}
		})
		t.Run("RefuseMD5", func(t *testing.T) {
			l := listen(t, "unix", pipe.Options{AuthKey: []byte("k"), RefuseMD5: true})
			s := runPython(t, python, `
modern = sys.version_info >= (3, 12)
say(modern)
try:
    Client(sys.argv[1], authkey=b"k")
    say("in")
except AuthenticationError as e:
    say(e)
`, l.Addr().String())
			modern := s.line(t) == "True"
			c, err := l.Accept()
			if modern && err != nil || !modern && (!errors.Is(err, pipe.ErrAuth) || !errorsContain(err, "MD5")) {
				t.Errorf("modern: %v; Accept: %v", modern, err)
			}
			if want := map[bool]string{true: "in", false: "digest sent was rejected"}[modern]; s.line(t) != want {
				t.Errorf("Python did not say %s", want)
			}
			if c != nil {
				c.Close()
			}
		})
	})
}

// A pipe end that Python inherits is a multiprocessing.connection.Connection.
func TestPythonInherits(t *testing.T) {
	pythons(t, func(t *testing.T, python string) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
		defer theirs.Close()
		c, err := pipe.FromFile(ours)
		ours.Close()
		if err != nil {
			t.Fatal(err)
		}
		closeWith(t, c)
		cmd := exec.Command(python, "-c", pythonPrelude+"c = Connection(3)\nassert wait([c]) == [c]\necho(c)")
		cmd.ExtraFiles = []*os.File{theirs}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		drivePython(t, c)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v\n%s", err, &stderr)
		}
	})
}

// A frame above 2 GiB has another header. Python's is taken from its own source; sending one would take too long here.
func TestPythonLongHeader(t *testing.T) {
	pythons(t, func(t *testing.T, python string) {
		out, err := exec.Command(python, "-c", `
import struct, sys
from multiprocessing.connection import Connection
class C(Connection):
    def __init__(self): pass
    def __del__(self): pass
    def _send(self, b): sys.stdout.buffer.write(bytes(b))
class Huge(bytes):
    def __len__(self): return 0x80000000
C()._send_bytes(Huge(b"payload"))
`).Output()
		if err != nil {
			t.Fatal(err)
		}
		c, fd := rawPair(t)
		defer unix.Close(fd)
		c.SetMaxMessage(0x80000000 - 1)
		unix.Write(fd, out)
		if _, err := c.RecvBytes(); !errors.Is(err, pipe.ErrTooLarge) || !errorsContain(err, "2147483648 bytes announced") {
			t.Errorf("header %x: %v", out, err)
		}
	})
}

// Many Pythons connect to a listener whose queue has room for two.
func TestPythonBacklog(t *testing.T) {
	pythons(t, func(t *testing.T, python string) {
		path := filepath.Join(shortDir(t), "s")
		s := runPython(t, python, `
l = Listener(sys.argv[1], authkey=b"k")
say("ready")
for i in range(20):
    with l.accept() as c:
        c.send_bytes(c.recv_bytes())
`, path)
		s.line(t)
		done := make(chan error, 20)
		for range 20 {
			go func() {
				c, err := pipe.Dial(context.Background(), "unix", path, pipe.Options{AuthKey: []byte("k")})
				if err == nil {
					c.SendBytes([]byte("x"))
					_, err = c.RecvBytes()
					c.Close()
				}
				done <- err
			}()
		}
		for range 20 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}
