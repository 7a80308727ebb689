package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-multiproc/multiproc/internal/journal"
)

// open opens a journal of texts and returns those that were there.
func open(t testing.TB, dir string, o journal.Options) (*journal.Journal, []string) {
	t.Helper()
	j, found, err := tryOpen(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j, found
}

func tryOpen(dir string, o journal.Options) (*journal.Journal, []string, error) {
	var found []string
	j, err := journal.Open(dir, o, func(r *journal.Reader, _ uint64) error {
		found = append(found, r.Text())
		return r.End()
	})
	return j, found, err
}

func note(j *journal.Journal, texts ...string) {
	for _, s := range texts {
		w := j.Begin()
		w.Text(s)
		w.End()
	}
}

func flush(t testing.TB, j *journal.Journal) {
	t.Helper()
	if err := j.Flush(); err != nil {
		t.Fatal(err)
	}
}

// write has what was noted written to the log.
func write(t testing.TB, j *journal.Journal) {
	t.Helper()
	if err := j.Write(); err != nil {
		t.Fatal(err)
	}
}

// goesOn notes one record more than was found, closes the journal, and finds them all again.
func goesOn(t testing.TB, j *journal.Journal, dir string, found []string, o journal.Options) {
	t.Helper()
	note(j, "next")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j, again := open(t, dir, o)
	if !slices.Equal(again, append(slices.Clone(found), "next")) {
		t.Fatalf("found %q, and after one more %q", found, again)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// killed returns a copy of a journal's directory as a kill would leave it now.
func killed(t testing.TB, dir string) string {
	t.Helper()
	to := quickDir(t)
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestFindsWhatWasFlushed(t *testing.T) {
	for _, sync := range []journal.Sync{journal.SyncEachSecond, journal.SyncAlways, journal.SyncNever} {
		dir := t.TempDir()
		j, found := open(t, dir, journal.Options{Sync: sync})
		if len(found) > 0 {
			t.Fatalf("a new journal has %q", found)
		}
		note(j, "a", "", strings.Repeat("b", 5<<20), "c")
		flush(t, j)
		note(j, "not flushed")
		again, found := open(t, killed(t, dir), journal.Options{})
		if len(found) > 4 && found[4] == "not flushed" { // it may be staged
			found = found[:4]
		}
		if len(found) != 4 || found[0] != "a" || len(found[2]) != 5<<20 || found[3] != "c" {
			t.Fatalf("found %d records", len(found))
		}
		note(again, "d")
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if _, found = open(t, dir, journal.Options{}); len(found) != 5 || found[4] != "not flushed" {
			t.Fatalf("after Close found %d records", len(found))
		}
	}
}

// lastFile returns the newest file of the log that holds anything.
func lastFile(t testing.TB, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "log-*", strings.Repeat("[0-9]", 20)))
	if err != nil || len(names) == 0 {
		t.Fatal("no log: ", err)
	}
	return slices.Max(names)
}

// A log that ends at any byte of its last records is read up to the last that is whole, and goes on from there.
func TestTornAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, journal.Options{Reserve: 1})
	note(j, "first")
	write(t, j)
	name := lastFile(t, dir)
	before := fileSize(t, name)
	note(j, "second", "third, in the same write")
	write(t, j)
	note(j, "fourth")
	write(t, j)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole) == before {
		t.Fatal("nothing was written")
	}
	snapshot := killed(t, dir)
	if err := os.Remove(filepath.Join(snapshot, "stage")); err != nil { // it has no part in this
		t.Fatal(err)
	}
	rel, _ := filepath.Rel(dir, name)
	all := []string{"first", "second", "third, in the same write", "fourth"}
	for _, tail := range []string{"", "\x00", strings.Repeat("\x00", 100), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "garbage of some length"} {
		step := 1
		if tail != "" {
			step = 9
		}
		for cut := before; cut <= len(whole); cut += step {
			torn := append(slices.Clone(whole[:cut]), tail...)
			if err := os.WriteFile(filepath.Join(snapshot, rel), torn, 0o600); err != nil {
				t.Fatal(err)
			}
			at := killed(t, snapshot)
			j, found := open(t, at, journal.Options{Sync: journal.SyncNever, Reserve: 1})
			if !slices.Equal(found, all[:len(found)]) || len(found) < 1 || cut == len(whole) && len(found) < 4 {
				t.Fatalf("cut at %d, then %q: found %q", cut, tail, found)
			}
			goesOn(t, j, at, found, journal.Options{Sync: journal.SyncNever, Reserve: 1})
		}
	}
}

// quickDir is a directory in memory, if the system has one.
func quickDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "multiproc-journal-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func fileSize(t testing.TB, name string) int {
	t.Helper()
	i, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return int(i.Size())
}

// A change in what was synced is found, wherever it is.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, journal.Options{Sync: journal.SyncAlways, Reserve: 1})
	for i := range 10 {
		note(j, fmt.Sprint("record ", i))
		flush(t, j)
	}
	name := lastFile(t, dir)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	rel, _ := filepath.Rel(dir, name)
	at := killed(t, dir)
	// Up to the last piece but one, of which the last says that it was synced.
	for i := range len(whole) - 100 {
		damaged := slices.Clone(whole)
		damaged[i] ^= 0x10
		if err := os.WriteFile(filepath.Join(at, rel), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		copied := killed(t, at)
		j, found, err := tryOpen(copied, journal.Options{Reserve: 1})
		if err == nil {
			j.Close()
			t.Fatalf("byte %d of %s changed: found %d records and no error", i, rel, len(found))
		}
		if !errors.Is(err, journal.ErrDamaged) && !errors.Is(err, journal.ErrVersion) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if after, err := os.ReadFile(filepath.Join(copied, rel)); err != nil || !slices.Equal(after, damaged) {
			t.Fatalf("byte %d: what was damaged was changed: %v", i, err)
		}
	}
}

// A model of what a store does: numbers by name, with the place in the stream up to which they are right.
type model struct {
	mu      sync.Mutex
	values  map[string]uint64
	through map[string]uint64 // from a snapshot: what the log says before this is in it
	j       *journal.Journal
}

func openModel(t testing.TB, dir string, o journal.Options) *model {
	t.Helper()
	m, err := loadModel(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.j.Close() })
	return m
}

func loadModel(dir string, o journal.Options) (*model, error) {
	m := &model{values: map[string]uint64{}, through: map[string]uint64{}}
	o.Compact = m.compact
	j, err := journal.Open(dir, o, func(r *journal.Reader, position uint64) error {
		key, n := r.Text(), r.Uint()
		if position == 0 {
			m.through[key] = r.Uint()
		}
		if r.More() {
			r.Bytes() // makes it long
		}
		if position == 0 || position > m.through[key] {
			m.values[key] += n
		}
		return r.End()
	})
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.j = j
	m.mu.Unlock()
	return m, nil
}

func (m *model) add(key string, n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key] += n
	w := m.j.Begin()
	w.Text(key)
	w.Uint(n)
	w.End()
}

func (m *model) compact(c *journal.Checkpoint) error {
	m.mu.Lock()
	keys := make([]string, 0, len(m.values))
	for k := range m.values {
		keys = append(keys, k)
	}
	m.mu.Unlock()
	for _, k := range keys { // each at another moment
		m.mu.Lock()
		n, at := m.values[k], c.Position()
		m.mu.Unlock()
		w := c.Begin()
		w.Text(k)
		w.Uint(n)
		w.Uint(at)
		w.End()
	}
	return c.Err()
}

// While writers go on, checkpoints are made again and again, and copies of the directory are opened as if there had been a kill. The
// writers stop for a copy only: it takes its time, and a kill takes none.
func TestCheckpointsBesideWriters(t *testing.T) {
	dir := t.TempDir()
	m := openModel(t, dir, journal.Options{Sync: journal.SyncNever, Reserve: 1})
	const writers = 4
	stop := make(chan struct{})
	var flushed [writers]uint64
	var mu sync.Mutex
	var copying sync.RWMutex
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for i := uint64(1); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				copying.RLock()
				m.add(fmt.Sprint(w, ".", i%50), 1)
				if i%7 == 0 {
					if err := m.j.Flush(); err != nil {
						t.Error(err)
					}
					mu.Lock()
					flushed[w] = i
					mu.Unlock()
				}
				copying.RUnlock()
			}
		})
	}
	total := func(m *model) (sums [writers]uint64) {
		for k, n := range m.values {
			var w int
			fmt.Sscanf(k, "%d.", &w)
			sums[w] += n
		}
		return sums
	}
	for range 20 {
		if err := m.j.Compact(); err != nil {
			t.Fatal(err)
		}
		copying.Lock()
		least, at := flushed, killed(t, dir)
		copying.Unlock()
		for w, n := range total(openModel(t, at, journal.Options{Sync: journal.SyncNever, Reserve: 1})) {
			if n < least[w] {
				t.Errorf("writer %d: found %d, had flushed %d", w, n, least[w])
			}
		}
	}
	close(stop)
	work.Wait()
	m.mu.Lock()
	want := total(m)
	m.mu.Unlock()
	if err := m.j.Close(); err != nil {
		t.Fatal(err)
	}
	if found := total(openModel(t, dir, journal.Options{})); found != want {
		t.Errorf("found %d, want %d", found, want)
	}
}

// What is older than the checkpoint is removed.
func TestCheckpointShortensTheLog(t *testing.T) {
	dir := t.TempDir()
	m := openModel(t, dir, journal.Options{})
	for range 100_000 {
		m.add("key", 1)
	}
	flush(t, m.j)
	before := m.j.Stats().LogBytes
	if err := m.j.Compact(); err != nil {
		t.Fatal(err)
	}
	if after := m.j.Stats(); after.LogBytes > 1000 || before < 100_000 || after.SnapshotBytes > 1000 {
		t.Errorf("the log had %d bytes and has %d, the snapshot %d", before, after.LogBytes, after.SnapshotBytes)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, "log-*"))
	if len(logs) != 1 {
		t.Errorf("left: %q", logs)
	}
	m.add("key", 1)
	flush(t, m.j)
	if n := openModel(t, killed(t, dir), journal.Options{}).values["key"]; n != 100_001 {
		t.Errorf("found %d", n)
	}
}

// The log is shortened by itself.
func TestCompactsByItself(t *testing.T) {
	dir := t.TempDir()
	compacted := make(chan struct{}, 1)
	m := &model{values: map[string]uint64{}}
	j, err := journal.Open(dir, journal.Options{CompactSize: 1000, Compact: func(c *journal.Checkpoint) error {
		defer func() { compacted <- struct{}{} }()
		return m.compact(c)
	}}, func(*journal.Reader, uint64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	m.j = j
	for range 1000 {
		m.add("key", 1)
	}
	flush(t, j)
	<-compacted
}

// What was written is not kept in memory: the log allocates nothing in the long run.
func TestWritingTakesNoMemory(t *testing.T) {
	j, _ := open(t, t.TempDir(), journal.Options{Sync: journal.SyncNever})
	record := strings.Repeat("x", 30_000)
	write := func(n int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range n {
			note(j, record)
			flush(t, j)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	write(3)
	if took := write(100); took > 1<<20 { // of 3 MB, which took 16 when they were kept
		t.Errorf("writing 3 MB allocated %d bytes", took)
	}
}

// Any bytes in the place of a file are read or refused.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	j, _ := open(f, dir, journal.Options{})
	note(j, "a", "b")
	write(f, j)
	b, err := os.ReadFile(lastFile(f, dir))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		at := filepath.Join(dir, "log-00000001")
		if err := os.Mkdir(at, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(at, fmt.Sprintf("%020d", 1)), b, 0o600); err != nil {
			t.Fatal(err)
		}
		j, found, err := tryOpen(dir, journal.Options{Reserve: 1, Sync: journal.SyncNever})
		if err != nil {
			return
		}
		goesOn(t, j, dir, found, journal.Options{Reserve: 1, Sync: journal.SyncNever})
	})
}

func BenchmarkFlush(b *testing.B) {
	record := strings.Repeat("x", 40)
	b.Run("journal", func(b *testing.B) {
		j, _ := open(b, b.TempDir(), journal.Options{})
		for b.Loop() {
			note(j, record)
			flush(b, j)
		}
	})
	b.Run("write", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "file"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		for b.Loop() {
			if _, err := f.WriteString(record); err != nil {
				b.Fatal(err)
			}
		}
	})
}
