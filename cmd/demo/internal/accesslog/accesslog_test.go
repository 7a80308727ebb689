package accesslog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-multiproc/multiproc/cmd/demo/internal/accesslog"
)

// reference is the dull version: the sentence of the package comment, line by line.
func reference(log []byte) (visits int64, clients map[string]bool) {
	clients = map[string]bool{}
	for line := range bytes.SplitSeq(log, []byte("\n")) {
		line = bytes.TrimSuffix(line, []byte("\r"))
		fields := bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' || r == '\t' })
		if len(fields) == 0 {
			continue
		}
		visits++
		client, _, _ := bytes.Cut(fields[0], []byte(","))
		clients[string(client)] = true
	}
	return visits, clients
}

// check counts log in parts of about part bytes and compares with the dull version.
func check(t *testing.T, log []byte, part int64) {
	t.Helper()
	visits, clients := reference(log)
	checkAgainst(t, log, part, visits, clients)
}

func checkAgainst(t *testing.T, log []byte, part, visits int64, clients map[string]bool) {
	t.Helper()
	var sum accesslog.Stats
	var read int64
	for _, p := range accesslog.Split(int64(len(log)), part) {
		var s accesslog.Stats // every part on its own, as in a process of its own
		if err := s.Count(bytes.NewReader(log), p, func(n int64) { read += n }); err != nil {
			t.Fatal(err)
		}
		sum.Visits += s.Visits
		sum.Clients.AddAll(&s.Clients)
	}
	compare(t, &sum, visits, clients)
	if read < 0 || read > int64(len(log)) {
		t.Errorf("progress adds up to %d of %d bytes", read, len(log))
	}
}

func compare(t *testing.T, got *accesslog.Stats, visits int64, clients map[string]bool) {
	t.Helper()
	if got.Visits != visits {
		t.Errorf("%d visits, want %d", got.Visits, visits)
	}
	n := 0
	for c := range got.Clients.All() {
		n++
		if !clients[string(c)] {
			t.Errorf("client %.40q is not there", c)
		}
	}
	if n != len(clients) || got.Clients.Len() != len(clients) {
		t.Errorf("%d clients (Len says %d), want %d", n, got.Clients.Len(), len(clients))
	}
}

var logs = []struct{ name, log string }{
	{"empty", ""},
	{"one newline", "\n"},
	{"one line", "10.0.0.1 - - GET /\n"},
	{"no final newline", "10.0.0.1 a\n10.0.0.2 b"},
	{"only a client", "10.0.0.1"},
	{"CRLF", "10.0.0.1 a\r\n10.0.0.1\r\n\r\n10.0.0.2\r"},
	{"two carriage returns", "10.0.0.1\r\r\n\r\r\n"},
	{"carriage return inside", "10.0.0.1\r x\na\rb c\n"},
	{"blank lines", " \n\t\n \t \r\n\n"},
	{"leading blanks", "  \t10.0.0.1 x\n\t10.0.0.1\n"},
	{"comma", "10.0.0.1,10.0.0.2 x\n10.0.0.1, y\n10.0.0.1,\n"},
	{"leading comma", ",x y\n,\n, \n ,\r\n"},
	{"IPv6", "2001:db8:85a3:8d3:1319:8a2e:370:7348 - x\n::1 - y\n2001:db8::1,::1 z\n"},
	{"exactly 16 bytes", "0123456789abcdef x\n0123456789abcdef\n0123456789abcde y\n0123456789abcdefg z\n"},
	{"exactly 8 bytes", "10.0.0.1 x\n10.0.0.1\n10.0.0.1,\n"},
	{"invalid UTF-8", "\xff\xfe\x80 x\n\xff\xfe\x81 y\n\xff\xfe\x80\n"},
	{"high bytes before a blank", "\xe8\xb6\x85\xe8\xb6\x85 x\n\xe8\xb6\x85\xe8\xb6\x85\n"},
	{"zero bytes", "a\x00 x\na y\na\x00\x00 z\n\x00 w\n\x00\n"},
	{"low bytes", "a\x01b c\n\v\n\f x\n!\n\"q\" x\n-\n+ x\n"},
	{"vertical tab is no blank", "a\vb c\na c\n"},
}

func TestCountAgreesWithTheDullVersion(t *testing.T) {
	for _, l := range logs {
		t.Run(l.name, func(t *testing.T) {
			for part := int64(1); part <= int64(len(l.log))+1; part++ {
				check(t, []byte(l.log), part)
			}
		})
	}
}

// long is a log with lines around and far beyond the size of the buffer.
func long() []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	fill := func(n int, c string) { b.WriteString(strings.Repeat(c, n)) }
	for _, n := range []int{256<<10 - 1, 256 << 10, 256<<10 + 1, 512 << 10, 3 << 20} {
		fmt.Fprintf(&b, "10.1.%d.1 ", n%251)
		fill(n, "x")
		b.WriteString("\n10.0.0.1 short\r\n")
		fill(n, "f") // one field
		b.WriteString("\n")
		fill(n, " ") // blank
		b.WriteString("\r\n")
		fill(n, "\t")
		b.WriteString("after-blanks\n")
		fill(n, "g")
		b.WriteString(",x\n")
	}
	for range 20_000 {
		fmt.Fprintf(&b, "10.0.%d.%d - %d\n", rng.IntN(20), rng.IntN(256), rng.Uint32())
	}
	fill(300<<10, "z") // no newline
	return b.Bytes()
}

func TestCountLongLines(t *testing.T) {
	log := long()
	visits, clients := reference(log)
	for _, part := range []int64{1 << 40, 8 << 20, 256 << 10, 77_777} {
		t.Run(fmt.Sprint(part), func(t *testing.T) { checkAgainst(t, log, part, visits, clients) })
	}
}

func TestCountStream(t *testing.T) {
	log := long()
	var s accesslog.Stats
	// A reader that gives one byte or so at a time, as a terminal or a slow pipe does.
	r := accesslog.Stream(io.MultiReader(bytes.NewReader(log[:10]), bytes.NewReader(log[10:])))
	if err := s.Count(r, accesslog.Part{Length: -1}, nil); err != nil {
		t.Fatal(err)
	}
	visits, clients := reference(log)
	compare(t, &s, visits, clients)
}

var errDisk = errors.New("disk on fire")

type failing struct{ io.ReaderAt }

func (f failing) ReadAt(p []byte, off int64) (int, error) {
	n, _ := f.ReaderAt.ReadAt(p[:min(len(p), 100)], off)
	return n, errDisk
}

func TestCountReportsReadErrors(t *testing.T) {
	var s accesslog.Stats
	err := s.Count(failing{bytes.NewReader(long())}, accesslog.Part{Length: -1}, nil)
	if !errors.Is(err, errDisk) || !strings.Contains(err.Error(), "at byte 100") {
		t.Errorf("error %v, want %v with the place", err, errDisk)
	}
}

// The set against a map, with more clients than fit the first table.
func TestClients(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var c, d accesslog.Clients
	want := map[string]bool{}
	for i := range 100_000 {
		b := make([]byte, rng.IntN(20))
		for j := range b {
			b[j] = "0123456789.\x00:a"[rng.IntN(14)]
		}
		want[string(b)] = true
		if i%2 == 0 {
			c.Add(b)
		} else {
			d.Add(b)
		}
	}
	c.AddAll(&d)
	if c.Len() != len(want) {
		t.Fatalf("%d clients, want %d", c.Len(), len(want))
	}
	for b := range c.All() {
		if !want[string(b)] {
			t.Fatalf("client %q was never added", b)
		}
		delete(want, string(b))
	}
	if len(want) != 0 {
		t.Errorf("%d clients are missing from All", len(want))
	}
	for range c.All() {
		break // must be allowed
	}
}

// awk itself, where it is installed.
func TestAgreesWithAwk(t *testing.T) {
	awk, err := exec.LookPath("awk")
	if err != nil {
		t.Skip("no awk")
	}
	for _, l := range logs {
		t.Run(l.name, func(t *testing.T) {
			cmd := exec.Command(awk, `{sub(/\r$/,"")} NF{n++;split($1,a,",");s[a[1]]} END{for(k in s)c++; print n+0, c+0}`)
			cmd.Env = append(cmd.Environ(), "LC_ALL=C")
			cmd.Stdin = strings.NewReader(l.log)
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var s accesslog.Stats
			if err := s.Count(strings.NewReader(l.log), accesslog.Part{Length: -1}, nil); err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintln(s.Visits, s.Clients.Len()); got != string(out) {
				t.Errorf("%q: got %s awk says %s", l.log, got, out)
			}
		})
	}
}

func FuzzCount(f *testing.F) {
	for _, l := range logs {
		f.Add([]byte(l.log), int64(7))
	}
	f.Fuzz(func(t *testing.T, log []byte, part int64) {
		if part < int64(len(log))/1000 { // thousands of parts only take long
			part = int64(len(log))
		}
		check(t, log, part)
	})
}

// sample is a log of n bytes with 20,000 clients.
func sample(n int) []byte {
	rng := rand.New(rand.NewPCG(5, 6))
	var b bytes.Buffer
	for b.Len() < n {
		c := rng.IntN(20_000)
		fmt.Fprintf(&b, "10.%d.%d.%d - - [10/Oct/2025:13:55:36 +0000] \"GET /shop/%05d HTTP/1.1\" 200 %d\n",
			c%3, c/256, c%256, rng.IntN(100_000), rng.IntN(90_000))
	}
	return b.Bytes()
}

func BenchmarkCount(b *testing.B) {
	log := sample(32 << 20)
	b.SetBytes(int64(len(log)))
	for b.Loop() {
		var s accesslog.Stats
		if err := s.Count(bytes.NewReader(log), accesslog.Part{Length: -1}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// The plain way, for comparison.
func BenchmarkCountPlain(b *testing.B) {
	log := sample(32 << 20)
	b.SetBytes(int64(len(log)))
	for b.Loop() {
		visits, clients := 0, map[string]struct{}{}
		for rest := log; len(rest) > 0; {
			line, after, _ := bytes.Cut(rest, []byte("\n"))
			rest = after
			line = bytes.TrimLeft(bytes.TrimSuffix(line, []byte("\r")), " \t")
			if len(line) == 0 {
				continue
			}
			visits++
			if i := bytes.IndexAny(line, " \t,"); i >= 0 {
				line = line[:i]
			}
			if _, ok := clients[string(line)]; !ok {
				clients[string(line)] = struct{}{}
			}
		}
	}
}
