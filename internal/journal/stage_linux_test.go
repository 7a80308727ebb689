package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/go-multiproc/multiproc/array"
	"github.com/go-multiproc/multiproc/internal/journal"
	"github.com/go-multiproc/multiproc/internal/reexec"
)

const notingWriters = 3

// noting is a process that notes numbers until it is killed: writer w's are "w.1", "w.2" and so on. How far they were flushed stands in an array, which outlives it.
func noting(args []string) int {
	var flushed *array.Array[uint64]
	err := reexec.Take(args[0], 1, &flushed)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	m, err := loadModel(args[1], journal.Options{Pause: 3 * time.Millisecond, CompactSize: 1 << 20, Reserve: 1 << 20})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("noting")
	if args[2] == "failing" {
		signal.Ignore(syscall.SIGXFSZ)
		go failing()
	}
	for w := range notingWriters {
		go func() {
			for i := m.value(fmt.Sprint(w)) + 1; ; i++ {
				long := 0
				if rand.IntN(2000) == 0 { // it does not fit, or others do not
					long = rand.IntN(2 * journal.StageHalf)
				}
				m.addLong(fmt.Sprint(w), long)
				for m.j.Flush() != nil {
					runtime.Gosched()
				}
				flushed.Store(w, i)
			}
		}()
	}
	select {}
}

// failing has every write to a file fail for some milliseconds, again and again. What is mapped is none.
func failing() {
	for {
		time.Sleep(rand.N(4 * time.Millisecond))
		for _, most := range []uint64{0, unix.RLIM_INFINITY} {
			if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: most, Max: unix.RLIM_INFINITY}); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			time.Sleep(rand.N(3 * time.Millisecond))
		}
	}
}

func (m *model) value(key string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values[key]
}

// addLong is add of 1, in a record that takes so many bytes more.
func (m *model) addLong(key string, more int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[key]++
	w := m.j.Begin()
	w.Text(key)
	w.Uint(1)
	if more > 0 {
		w.Text(strings.Repeat("x", more))
	}
	w.End()
}

// A killing is a directory in which processes note that are killed.
type killing struct {
	dir     string
	flushed *array.Array[uint64]
	arg     string
	files   []*os.File
}

func newKilling(t *testing.T) *killing {
	t.Helper()
	flushed, err := array.NewRaw[uint64](notingWriters)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flushed.Close() })
	k := &killing{dir: quickDir(t), flushed: flushed}
	k.arg, k.files = reexec.Give(t, flushed)
	return k
}

// check finds what was flushed before the kill.
func (k *killing) check(t *testing.T) {
	t.Helper()
	at := killed(t, k.dir)
	m := openModel(t, at, journal.Options{Sync: journal.SyncNever, Reserve: 1})
	for w := range notingWriters {
		// One more may have been noted, and not yet counted.
		n, least := m.value(fmt.Sprint(w)), k.flushed.Load(w)
		if n < least || n > least+1 {
			t.Fatalf("writer %d: found %d, had flushed %d", w, n, least)
		}
		k.flushed.Store(w, n)
	}
	m.j.Close()
	os.RemoveAll(at)
}

// A process that notes all the time is killed again and again, in the midst of staging, writing, syncing and checkpoints, and while nothing can be
// written; what it had flushed is there each time.
func TestKilledWhileItNotes(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 8
	}
	for _, disk := range []string{"working", "failing"} {
		t.Run(disk, func(t *testing.T) {
			k := newKilling(t)
			staged := 0
			for range rounds {
				p := reexec.Start(t, "noting", k.files, k.arg, k.dir, disk)
				if line := p.Line(); line != "noting" {
					t.Fatal(line)
				}
				time.Sleep(rand.N(10 * time.Millisecond)) // a kill at any moment
				p.Cmd.Process.Kill()
				p.Cmd.Wait()
				if b, err := os.ReadFile(filepath.Join(k.dir, "stage")); err == nil && len(bytes.Trim(b[journal.StageHead:], "\x00")) > 0 {
					staged++
				}
				k.check(t)
			}
			if staged == 0 {
				t.Error("nothing was staged in any round")
			}
		})
	}
}

// A process is killed at each label of this package, at several passes.
func TestCrashPoints(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, f := range files {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`crash\.At\("(journal\.[^"]+)"\)`).FindAllSubmatch(src, -1) {
			labels = append(labels, string(m[1]))
		}
	}
	if len(labels) < 7 {
		t.Fatalf("only %q", labels)
	}
	bin := filepath.Join(t.TempDir(), "journal.test")
	if out, err := exec.Command("go", "test", "-c", "-tags", "multiproc_crash", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	k := newKilling(t)
	for _, label := range labels {
		hit := false
		for _, pass := range []int{1, 2, 3, 50} {
			cmd := exec.Command(bin, k.arg, k.dir, "working")
			cmd.Env = append(os.Environ(), fmt.Sprintf("MULTIPROC_CRASH=%s:%d", label, pass))
			p := reexec.StartCmd(t, cmd, "noting", k.files)
			late := time.AfterFunc(2*time.Second, func() { p.Cmd.Process.Kill() }) // it does not come there so often
			said, _ := io.ReadAll(p.Out)
			p.Cmd.Wait()
			if status := p.Cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
				t.Fatalf("%s:%d: %v: %s", label, pass, p.Cmd.ProcessState, said)
			}
			hit = late.Stop() || hit
			k.check(t)
			if pass > 1 && strings.Contains("journal.loaded journal.kept journal.stage.emptied", label) {
				break // once in an Open
			}
		}
		if !hit {
			t.Errorf("nobody came to %s", label)
		}
	}
}

// staging returns a copy of the directory of a journal whose records are staged only, and its stage.
func staging(t testing.TB, texts ...string) (dir string, stage []byte) {
	t.Helper()
	living := t.TempDir()
	j, _ := open(t, living, journal.Options{Sync: journal.SyncNever, Reserve: 1, Pause: time.Hour})
	note(j, texts...)
	flush(t, j)
	dir = killed(t, living)
	b, err := os.ReadFile(filepath.Join(dir, "stage"))
	if err != nil {
		t.Fatal(err)
	}
	return dir, b
}

func replaceStage(t testing.TB, dir string, stage []byte) (copied string) {
	t.Helper()
	copied = killed(t, dir)
	if err := os.WriteFile(filepath.Join(copied, "stage"), stage, 0o600); err != nil {
		t.Fatal(err)
	}
	return copied
}

// A stage that ends at any byte, and one of which any byte is another, is read up to the last record that is whole, and the journal goes on from there.
func TestStageTornAtEveryByte(t *testing.T) {
	all := []string{"first", "second", "", "4"}
	dir, stage := staging(t, all...)
	end := len(bytes.TrimRight(stage, "\x00"))
	lengths := map[int]bool{}
	for at := journal.StageHead; at <= end; at++ {
		for name, tear := range map[string]func(b []byte) []byte{
			"the file ends":  func(b []byte) []byte { return b[:at] },
			"zeros follow":   func(b []byte) []byte { clear(b[at:]); return b },
			"garbage":        func(b []byte) []byte { copy(b[at:], "garbage of some length"); return b },
			"one bit":        func(b []byte) []byte { b[at] ^= 0x10; return b },
			"an old version": func(b []byte) []byte { copy(b[at:], b[journal.StageHead:end]); return b },
		} {
			if name != "zeros follow" && name != "one bit" && at%5 > 0 && at < end { // these are tried at each
				continue
			}
			damaged := replaceStage(t, dir, tear(slices.Clone(stage)))
			j, found := open(t, damaged, journal.Options{Sync: journal.SyncNever, Reserve: 1})
			if len(found) > len(all) || !slices.Equal(found, all[:len(found)]) || at == end && len(found) != len(all) {
				t.Fatalf("byte %d, %s: found %q", at, name, found)
			}
			lengths[len(found)] = true
			goesOn(t, j, damaged, found, journal.Options{Sync: journal.SyncNever, Reserve: 1})
			os.RemoveAll(damaged)
		}
	}
	if len(lengths) != len(all)+1 {
		t.Errorf("what was found had the lengths %v", lengths)
	}
}

// What is staged counts once, even if it was written as well, and not if the log ends before it.
func TestStageBesideTheLog(t *testing.T) {
	living := t.TempDir()
	j, _ := open(t, living, journal.Options{Sync: journal.SyncNever, Reserve: 1, Pause: time.Hour})
	note(j, "one")
	write(t, j)
	short := killed(t, living) // its log has one record
	note(j, "two", "three")
	staged := killed(t, living)
	write(t, j) // the stage has them still
	written := killed(t, living)
	note(j, "four")
	all := killed(t, living)
	rel, _ := filepath.Rel(living, lastFile(t, living))
	lost := func(from string) string { // a power cut took away what the log had after the first record
		dir := killed(t, from)
		b, err := os.ReadFile(filepath.Join(short, rel))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, rel), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	gap := lost(all)
	b, err := os.ReadFile(filepath.Join(gap, "stage"))
	if err != nil {
		t.Fatal(err)
	}
	// The half with "two" and "three" goes with the pages that the disk did not get.
	i := bytes.Index(b, []byte("two"))
	if i < 0 {
		t.Fatal("it is not staged")
	}
	clear(b[i : i+3])
	if err := os.WriteFile(filepath.Join(gap, "stage"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		dir  string
		want []string
	}{
		"staged":            {staged, []string{"one", "two", "three"}},
		"written":           {written, []string{"one", "two", "three"}},
		"both":              {all, []string{"one", "two", "three", "four"}},
		"the log was lost":  {lost(all), []string{"one", "two", "three", "four"}},
		"and half a stage":  {gap, []string{"one"}},
		"nothing of either": {lost(short), []string{"one"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, o := range []journal.Options{{Sync: journal.SyncNever, Reserve: 1}, {Sync: journal.SyncAlways, Reserve: 1}} {
				dir := killed(t, tt.dir)
				want := tt.want
				for i := range 3 {
					j, found := open(t, dir, o)
					if !slices.Equal(found, want) {
						t.Fatalf("opened %d times: found %q", i+1, found)
					}
					// As long as what was lost: a record that was staged once must not go on here.
					next := strings.Repeat("x", len("two"))
					note(j, next)
					flush(t, j)
					want = append(slices.Clone(want), next)
					dir = killed(t, dir)
				}
			}
		})
	}
}

// Who cuts the file under a journal ends its stage, and no more.
func TestStageCut(t *testing.T) {
	for _, size := range []int64{0, journal.StageHead, journal.StageHead + 4096} {
		dir := t.TempDir()
		j, _ := open(t, dir, journal.Options{Pause: time.Millisecond, Reserve: 1})
		var want []string
		add := func(n int) {
			for range n {
				s := fmt.Sprint("record ", len(want))
				want = append(want, s)
				note(j, s)
				flush(t, j)
			}
		}
		add(10)
		if err := os.Truncate(filepath.Join(dir, "stage"), size); err != nil {
			t.Fatal(err)
		}
		add(10_000)
		if _, found := open(t, killed(t, dir), journal.Options{Reserve: 1}); !slices.Equal(found, want) {
			t.Fatalf("cut at %d: found %d of %d", size, len(found), len(want))
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		if _, found := open(t, dir, journal.Options{Reserve: 1}); !slices.Equal(found, want) {
			t.Fatalf("cut at %d: after Close found %d of %d", size, len(found), len(want))
		}
	}
}

// Where there can be no stage, a journal does without.
func TestNoStage(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "nowhere", "stage"), filepath.Join(dir, "stage")); err != nil {
		t.Fatal(err)
	}
	j, _ := open(t, dir, journal.Options{Reserve: 1})
	note(j, "a", "b")
	flush(t, j)
	at := killed(t, dir)
	if _, err := os.Stat(filepath.Join(at, "stage")); err == nil {
		t.Fatal("there is a stage")
	}
	if _, found := open(t, at, journal.Options{Reserve: 1}); !slices.Equal(found, []string{"a", "b"}) {
		t.Errorf("found %q", found)
	}
}

// Many writers share a stage, and find each other's records in front of their own.
func TestStageOfManyWriters(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, journal.Options{Pause: time.Millisecond, Reserve: 1})
	const writers, each = 8, 3000
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for i := range each {
				text := fmt.Sprintf("%d %d", w, i)
				if i%500 == 499 {
					text += strings.Repeat(" ", journal.StageHalf)
				}
				note(j, text)
				if err := j.Flush(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	for name, dir := range map[string]string{"killed": killed(t, dir), "closed": dir} {
		if name == "closed" {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
		}
		var next [writers]int
		_, found := open(t, dir, journal.Options{Reserve: 1})
		for _, text := range found {
			var w, i int
			if _, err := fmt.Sscan(text, &w, &i); err != nil || w >= writers || next[w] != i {
				t.Fatalf("%s: %.20q after %v", name, text, next)
			}
			next[w]++
		}
		if len(found) != writers*each {
			t.Errorf("%s: found %d", name, len(found))
		}
	}
}

// A stage of another version, or something else in its place, is refused, and nothing is changed.
func TestForeignStage(t *testing.T) {
	dir, stage := staging(t, "a")
	for name, tt := range map[string]struct {
		stage []byte
		want  error
	}{
		"a later version": {slices.Concat([]byte("multiproc-stage\x02"), stage[16:]), journal.ErrVersion},
		"something else":  {[]byte("These are not the bytes that you are looking for."), journal.ErrDamaged},
	} {
		copied := replaceStage(t, dir, tt.stage)
		if _, _, err := tryOpen(copied, journal.Options{Reserve: 1}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := os.ReadFile(filepath.Join(copied, "stage")); err != nil || !bytes.Equal(b, tt.stage) {
			t.Errorf("%s: it was changed: %v", name, err)
		}
	}
	for name, stage := range map[string][]byte{"empty": nil, "zeros": make([]byte, len(stage))} {
		if _, found := open(t, replaceStage(t, dir, stage), journal.Options{Reserve: 1}); len(found) > 0 {
			t.Errorf("%s: found %q", name, found)
		}
	}
}

// Any bytes in the place of a stage are read, or passed over.
func FuzzStage(f *testing.F) {
	dir, stage := staging(f, "a", "b")
	head, body := stage[:journal.StageHead], stage[journal.StageHead:journal.StageHead+200]
	f.Add(body)
	f.Add(body[:40])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := replaceStage(t, dir, append(slices.Clone(head), b...))
		j, found, err := tryOpen(dir, journal.Options{Reserve: 1, Sync: journal.SyncNever})
		if err != nil {
			return
		}
		goesOn(t, j, dir, found, journal.Options{Reserve: 1, Sync: journal.SyncNever})
		os.RemoveAll(dir)
	})
}

// syncing writes one record, and stages another one that cannot be written any more: the first is synced all the same.
func syncing(args []string) int {
	fail := func(err error) int {
		fmt.Println(err)
		return 1
	}
	j, _, err := tryOpen(args[0], journal.Options{Pause: 100 * time.Millisecond})
	if err != nil {
		return fail(err)
	}
	note(j, "written")
	if err := j.Write(); err != nil {
		return fail(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Max: unix.RLIM_INFINITY}); err != nil {
		return fail(err)
	}
	written := j.Position()
	note(j, "staged")
	if err := j.Flush(); err != nil {
		return fail(err)
	}
	staged := int64(j.Position() - written)
	for begin := time.Now(); j.Stats().Unsynced > staged || j.Stats().Trouble == nil; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			return fail(fmt.Errorf("%d bytes are not synced, of which %d cannot be written: %w", j.Stats().Unsynced, staged, j.Stats().Trouble))
		}
	}
	fmt.Println("well")
	return 0
}

// While nothing can be written, what was written is synced as ever.
func TestSyncsWhileNothingCanBeWritten(t *testing.T) {
	if line := reexec.Start(t, "syncing", nil, t.TempDir()).Line(); line != "well" {
		t.Error(line)
	}
}
