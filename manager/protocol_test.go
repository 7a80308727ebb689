package manager_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/go-multiproc/multiproc/manager"
)

var update = flag.Bool("update", false, "write the recorded conversation into docs/protocol.md")

// serve serves in this process, at a socket of the test's, and returns its path.
func serve(t testing.TB, o manager.Options) string {
	t.Helper()
	path := filepath.Join(socketDir(t), "server")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- manager.Serve(l, o) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return path
}

// socketDir is a directory with a short path, which t.TempDir's is not.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func connect(t testing.TB, path string, o manager.Options) *manager.Manager {
	t.Helper()
	m, err := manager.Connect(testContext(t), "unix", path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// A recorder stands between a client and a server and writes down what they say.
type recorder struct {
	mu   sync.Mutex
	said []frame
	news *sync.Cond
}

type frame struct {
	fromClient bool
	payload    []byte
}

// record listens at a path of its own and passes the only connection on to the server.
func record(t *testing.T, server string) (path string, r *recorder) {
	t.Helper()
	r = new(recorder)
	r.news = sync.NewCond(&r.mu)
	path = filepath.Join(socketDir(t), "recorder")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("unix", server)
		if err != nil {
			t.Error(err)
			c.Close()
			return
		}
		wg.Go(func() { r.pass(c, s, true) })
		wg.Go(func() { r.pass(s, c, false) })
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return path, r
}

func (r *recorder) pass(from, to net.Conn, fromClient bool) {
	defer to.Close()
	for {
		payload, err := readFrame(from)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.said = append(r.said, frame{fromClient, payload})
		r.news.Broadcast()
		r.mu.Unlock()
		if _, err := to.Write(framed(payload)); err != nil {
			return
		}
	}
}

// wait waits until n frames were said, and returns them all.
func (r *recorder) wait(n int) []frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.said) < n {
		r.news.Wait()
	}
	return r.said
}

func framed(payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	payload := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err := io.ReadFull(r, payload)
	return payload, err
}

// The conversation in docs/protocol.md is what a client and a server really say.
func TestProtocolDocument(t *testing.T) {
	ctx := testContext(t)
	path, r := record(t, serve(t, manager.Options{}))
	m := connect(t, path, manager.Options{NoRings: true})
	var doc strings.Builder
	told := 0
	var masks [][2][]byte
	// tell does a step of the conversation and writes down the frames that it consists of.
	tell := func(words string, frames int, do func()) {
		t.Helper()
		do()
		fmt.Fprintf(&doc, "%s\n\n```\n", words)
		said := r.wait(told + frames)
		for _, f := range said[told : told+frames] {
			b := bytes.Clone(f.payload)
			for _, m := range masks {
				b = bytes.ReplaceAll(b, m[0], m[1])
			}
			arrow := "S→C"
			if f.fromClient {
				arrow = "C→S"
			}
			text, err := cbor.Diagnose(b)
			if err != nil {
				t.Errorf("%s: %v", words, err)
			}
			fmt.Fprintf(&doc, "%s  %s\n", arrow, text)
			line := hex.EncodeToString(framed(b))
			for len(line) > 0 {
				n := min(64, len(line))
				fmt.Fprintf(&doc, "     %s\n", line[:n])
				line = line[n:]
			}
		}
		told += frames
		fmt.Fprintf(&doc, "```\n\n")
	}
	// mask replaces what is random in the first frame that has it.
	mask := func(frame int, with byte) {
		var items []cbor.RawMessage
		if err := cbor.Unmarshal(r.wait(frame + 1)[frame].payload, &items); err != nil {
			t.Fatal(err)
		}
		var random []byte
		if err := cbor.Unmarshal(items[2], &random); err != nil || len(random) != 16 {
			t.Fatal("no random bytes in frame", frame, err)
		}
		fixed := make([]byte, 16)
		for i := range fixed {
			fixed[i] = with + byte(i)
		}
		masks = append(masks, [2][]byte{random, fixed})
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	mask(1, 0x00)
	tell("The client introduces itself, and the server answers. (The server's id is random; here it is 00…0f.)", 2, func() {})
	var d *manager.Dict[string, int]
	var err error
	tell("A dict is made: operation 4, kind 1. Its id is 1.", 2, func() { d, err = manager.NewDict[string, int](m); check(err) })
	tell("`d[\"a\"] = 1`: the key is the CBOR text \"a\", 0x6161, and the value the CBOR integer 1, 0x01.", 2, func() { check(d.Set(ctx, "a", 1)) })
	tell("The value of \"a\", and that of \"b\", which is not there.", 4, func() {
		d.Get(ctx, "a")
		d.Get(ctx, "b")
	})
	tell("Two keys at once.", 2, func() { _, err := d.BatchGet(ctx, []string{"b", "a"}); check(err) })
	tell("The first page of the dict, from the beginning (0). The next page would begin at 0, so this was the last.", 2, func() {
		for range d.All(ctx) {
		}
	})
	var l *manager.List[*manager.Dict[string, int]]
	defer func() { runtime.KeepAlive(l) }() // collected, it would be released in the middle of the conversation
	tell("A named list. It is made, because nobody has made one of that name.", 2, func() {
		l, err = manager.OpenList[*manager.Dict[string, int]](m, "dicts")
		check(err)
	})
	tell("The dict is appended to the list. The value mentions object 1, so it is an array of the bytes and the ids.", 2, func() { check(l.Append(ctx, d)) })
	tell("The client reads it back. It now holds two references to object 1: that of the creation, and this one.", 2, func() {
		got, err := l.Get(ctx, -1)
		check(err)
		check(got.Close())
	})
	tell("An index that the list does not have.", 2, func() { l.Get(ctx, 5) })
	release := make(chan struct{})
	updated := make(chan error, 1)
	tell("An update: the client leases the key, and gets its value. The lease has the number of the request.", 2, func() {
		in := make(chan struct{})
		go func() {
			_, err := d.Update(ctx, "a", func(v int, _ bool) (int, error) { close(in); <-release; return v + 1, nil })
			updated <- err
		}()
		<-in
	})
	tell("Meanwhile another thread of the client wants to set the key, has to wait, and gives up.", 3, func() {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if err := d.Set(short, "a", 7); err != context.DeadlineExceeded {
			t.Errorf("Set during Update: %v", err)
		}
	})
	tell("The update is committed, which ends the lease.", 2, func() { close(release); check(<-updated) })
	tell("Another update changes its mind: the request that took the lease is cancelled.", 3, func() {
		d.Update(ctx, "a", func(int, bool) (int, error) { return 0, io.EOF })
		r.wait(told + 3)
	})
	tell("What the dict's last handle has received so far is released: two references to object 1. Such requests have no reply, "+
		"so the id is 0. It is sent along with the next request.", 3, func() {
		check(d.Close())
		_, err := m.Stats(ctx)
		check(err)
	})
	tell("The name is removed.", 2, func() { check(m.Remove(ctx, "dicts")) })
	tell("The server is shut down. After the reply come its last words, which belong to no request.", 3, func() { check(m.Shutdown(ctx)) })

	const name = "../docs/protocol.md"
	begin, end := "<!-- conversation: written by go test ./manager -update -->\n\n", "<!-- end of conversation -->"
	file, err := os.ReadFile(name)
	check(err)
	before, rest, ok1 := strings.Cut(string(file), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the conversation", name)
	}
	if *update {
		check(os.WriteFile(name, []byte(before+begin+doc.String()+end+after), 0o666))
		return
	}
	if old != doc.String() {
		was, is := strings.Split(old, "\n"), strings.Split(doc.String(), "\n")
		for i := range is {
			if i >= len(was) || was[i] != is[i] {
				t.Fatalf("%s does not say what client and server do: conversation line %d is\n\t%s\nand should be\n\t%s\nIf the change of the protocol is meant, run go test ./manager -run TestProtocolDocument -update", name, i+1, append(was, "")[min(i, len(was))], is[i])
			}
		}
		t.Fatalf("%s says more than client and server do", name)
	}
}

// docs/protocol.md says something of every operation, and of every error's code: in a line of a table, or in a list of numbers.
func TestProtocolDocumentIsComplete(t *testing.T) {
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[int]bool{}
	number := regexp.MustCompile(`(\d+)(?: to (\d+))?`)
	for line := range strings.Lines(string(doc)) {
		var texts []string
		switch _, list, ok := strings.Cut(line, "under numbers"); {
		case strings.HasPrefix(line, "| "):
			for _, cell := range strings.Split(line, "|") {
				if number.FindString(cell) == strings.TrimSpace(cell) {
					texts = append(texts, cell)
				}
			}
		case ok:
			texts = append(texts, list)
		}
		for _, text := range texts {
			for _, m := range number.FindAllStringSubmatch(text, -1) {
				from, _ := strconv.Atoi(m[1])
				to, err := strconv.Atoi(m[2])
				if err != nil {
					to = from
				}
				for n := from; n <= to; n++ {
					said[n] = true
				}
			}
		}
	}
	for _, op := range manager.Operations() {
		if !said[op] {
			t.Errorf("docs/protocol.md says nothing of operation %d", op)
		}
	}
	for _, code := range manager.Codes() {
		if !said[int(code)] {
			t.Errorf("docs/protocol.md says nothing of code %d", code)
		}
	}
}
